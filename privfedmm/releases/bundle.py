"""`privfedmm release`: the folder that a run's claim covers, and nothing beside it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from privacy import Ledger, Statement
from privacy.commitment import canonical, is_signed, signed
from privfedmm.audit.budget import Subject, budget_of
from privfedmm.base.arrays import load_arrays, save_arrays
from privfedmm.base.errors import PRIVACY_VIOLATION, UserError
from privfedmm.base.files import write_json, write_text
from privfedmm.config import RunConfig, resolve
from privfedmm.data import Dataset
from privfedmm.privacy_plan.continuing import LEDGER, SIMULATED
from privfedmm.releases.claimed import claimed_record
from privfedmm.runs import binding
from privfedmm.runs.recommend import BUNDLE
from privfedmm.runs.run import CONFIG, RECORD, STATEMENT, load_data
from privfedmm.runs.session import MODEL

ITEMS, TITLES = "items.npz", "items.csv"
_TITLED = ("title", "name")


def release(folder: Path, out: Path, no_claim: bool, tell: Callable[[str], None]) -> None:
    """Write what may be given away of the finished run in `folder` to `out`, a new folder.

    no_claim: whether a bundle that protects nobody is wanted all the same; it says so. tell: is
    told the claim. Raises UserError for a run that is not finished, that makes no claim, whose
    noise follows from the seed, whose budget does not add up, that is not what its ledger commits
    to, or of which some file is missing.
    """
    if out.exists():
        raise UserError(f"release: {out} exists; name another folder")
    subject = Subject.read(folder)
    if not (folder / MODEL).exists():
        raise UserError(f"release: {folder} has no {MODEL}: it was made by an earlier version, "
                        "which kept what devices hold and what is released in one file; run it "
                        "again")
    nothing = _nothing_claimed(subject)
    if nothing is not None and not no_claim:
        raise UserError(f"release: this run protects nobody: {nothing}; give --no-claim to release "
                        "it all the same, marked as such")
    faults = budget_of(subject, quick=True)["faults"]
    if faults:
        raise UserError("release: " + "; ".join(faults), PRIVACY_VIOLATION)
    data = load_data(subject.config)
    if data.sha256 != subject.record["dataset"]["sha256"]:
        raise UserError("release: the data set or its features have changed since the run; put "
                        "back those it was made of")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in (CONFIG, LEDGER, *([STATEMENT] if nothing is None else [])):
        shutil.copyfile(folder / name, part / name)
    save_arrays(part / MODEL, _read(folder / MODEL))
    write_json(part / RECORD, claimed_record(subject.record, nothing))
    _write_items(part, data)
    claim = [f"none: {nothing}"] if nothing is not None else _claim(folder)
    _seal(folder, part, {
        "format": 1, "claim": claim, "claimed": nothing is None, "users": data.num_users,
        "timed": data.train_age is not None})
    part.rename(out)
    for line in claim if nothing is None else [f"epsilon: none ({nothing})"]:
        tell(line)


def _nothing_claimed(subject: Subject) -> str | None:
    """Why a run protects nobody; None where it claims something."""
    privacy = subject.record["privacy"]
    if subject.config.dp is None or privacy["epsilon"] is None:
        return "it was made without a budget"
    if privacy["noise_source"] == SIMULATED:
        return "its noise follows from the seed, which its config tells"
    if Ledger.from_json(subject.rows).commitment is None:
        return ("its ledger is not bound to what it promised; earlier versions did not bind it")
    return None


def _claim(folder: Path) -> list[str]:
    said = json.loads((folder / STATEMENT).read_text(encoding="utf-8"))
    return Statement(**said).lines()


def _write_items(part: Path, data: Dataset) -> None:
    """What the model is about: items and their features, public before the run."""
    save_arrays(part / ITEMS, {
        "features": dict(data.features), "present": dict(data.present), "cold": data.cold})
    title = next((n for n in _TITLED if n in data.items.columns), None)
    table = pd.DataFrame({"item_id": data.item_ids, "title": (
        data.items[title].to_numpy() if title else np.full(data.num_items, ""))})
    write_text(part / TITLES, table.to_csv(index=False))


def _seal(folder: Path, part: Path, about: dict[str, Any]) -> None:
    """Write the list of all files by digest, signed by the key of a bound run."""
    files = {path.name: _sha256(path) for path in sorted(part.iterdir())}
    key = binding.RunKey.read(folder)
    sealed = {**about, "files": files, "key": key.signer.verify_key().hex() if key else None}
    digest = hashlib.sha256(canonical(sealed)).hexdigest()
    write_json(part / BUNDLE, {
        **sealed, "signature": signed(digest, key.signer) if key else None})


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        return load_arrays(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); start from a whole copy") from error


@dataclass(frozen=True)
class Bundle:
    """This is a bundle as its reader has it.

    model: the released half of the model. items [items]: the ids by number. titles [items].
    features, present, cold: as in `Dataset`. users: how many took part. timed: whether the method
    knows which row of a user came first. claim: sentences.
    """

    config: RunConfig
    model: dict[str, Any]
    items: np.ndarray
    titles: np.ndarray
    features: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    cold: np.ndarray | None
    users: int
    timed: bool
    claim: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """Read a bundle. Raises UserError for a folder that is none, or that was changed."""
        try:
            about = json.loads((folder / BUNDLE).read_text(encoding="utf-8"))
            _check(folder, about)
            found = load_arrays(folder / ITEMS)
            table = pd.read_csv(folder / TITLES, dtype=str, keep_default_na=False)
            model = load_arrays(folder / MODEL)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"recommend: {folder} is no whole bundle ({error}); ask for it anew"
                            ) from error
        arrays = {part: {n: x.numpy() for n, x in (found.get(part) or {}).items()}
                  for part in ("features", "present")}
        cold = found["cold"]
        return cls(
            resolve(folder / CONFIG, {}), model, table["item_id"].to_numpy(dtype=str),
            table["title"].to_numpy(dtype=str), arrays["features"], arrays["present"],
            None if cold is None else cold.numpy(), int(about["users"]), bool(about["timed"]),
            tuple(about["claim"]))


def _check(folder: Path, about: dict[str, Any]) -> None:
    """Raise ValueError where a file is not the one that the list names, or the list not the
    signer's."""
    for name, digest in about["files"].items():
        if not (folder / name).exists() or _sha256(folder / name) != digest:
            raise ValueError(f"{name} is not the file that {BUNDLE} names")
    if about["key"] is None:
        return
    sealed = {n: x for n, x in about.items() if n != "signature"}
    ledger = Ledger.from_json(json.loads((folder / LEDGER).read_text(encoding="utf-8")))
    promised = ledger.commitment
    if promised is None or promised["key"] != about["key"] or not is_signed(
            hashlib.sha256(canonical(sealed)).hexdigest(), about["signature"], about["key"]):
        raise ValueError(f"{BUNDLE} is not signed by the key of its ledger")
