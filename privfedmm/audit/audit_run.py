"""`privfedmm audit`: budget, canaries and attacks on one run, resumable; audit.json."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privacy.audit import AuditError
from privfedmm.audit.attack_matrix import (
    FULL_SCALE,
    MODES,
    NOTHING_SENT,
    QUICK_MODES,
    QUICK_SCALE,
    attack_mode,
)
from privfedmm.audit.bound import promises_data
from privfedmm.audit.budget import Subject, budget_of
from privfedmm.audit.empirical import QUICK, Canaries, audit_empirically
from privfedmm.base.code_digest import code_digest, foreign_code
from privfedmm.base.errors import UserError
from privfedmm.base.files import write_json
from privfedmm.config import RunConfig
from privfedmm.data import Dataset
from privfedmm.privacy_plan.keeping import LEDGER
from privfedmm.runs.record import set_threads
from privfedmm.runs.run import CONFIG, RECORD, load_data

AUDIT, PART = "audit.json", "audit.part.json"
PARTS = ("budget", "empirical", "attacks")
CHANGED = "the data set has changed since the run"
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """These are the options of an audit.

    quick: whether to play fewer canaries, clients and modes. canaries: their number, None for the
    default. seed: the seed of the audit, None for one from the operating system. parts: some of
    PARTS; the budget is always checked. Raises UserError for values out of range.
    """

    quick: bool = False
    canaries: int | None = None
    seed: int | None = None
    full_protocol: bool = False
    parts: tuple[str, ...] = PARTS

    def __post_init__(self) -> None:
        odd = [part for part in self.parts if part not in PARTS]
        if odd:
            raise UserError(f"--parts: there is no part {odd[0]!r}; known are {', '.join(PARTS)}")
        if self.canaries is not None and self.canaries < 8:
            raise UserError(f"--canaries: {self.canaries} are too few for any bound; give 8 or "
                            "more, better 400")
        if self.seed is not None and self.seed < 0:
            raise UserError(f"--audit-seed: {self.seed} must be 0 or more")

    @property
    def modes(self) -> tuple[str, ...]:
        """Return the modes of the attack matrix that every run is played in."""
        return QUICK_MODES if self.quick else MODES


class _Progress:
    """Finished parts of an audit on disk; parts of another run or other options do not count."""

    def __init__(self, folder: Path, key: str, seed: int) -> None:
        self._file = folder / PART
        kept: dict[str, Any] = {}
        for file in (folder / AUDIT, self._file):
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # not there, or cut short: the parts are played again
            if isinstance(found, dict) and found.get("key") == key:
                kept = found
        self.values: dict[str, Any] = {
            "key": key, "audit_seed": kept.get("audit_seed", seed),
            "empirical": kept.get("empirical"), "attacks": kept.get("attacks") or {},
        }

    @property
    def seed(self) -> int:
        return int(self.values["audit_seed"])

    def keep(self) -> None:
        write_json(self._file, self.values)

    def done(self) -> None:
        self._file.unlink(missing_ok=True)


def audit_run(folder: Path, options: Options, tell: Tell) -> dict[str, Any]:
    """Audit a finished run and write audit.json; `faults` is empty where all is well.

    What an earlier audit of the same run with the same options finished is not played again.
    Raises UserError where the folder holds no finished run.
    """
    subject = Subject.read(folder)
    progress = _Progress(folder, _key(folder, options), _seed(options))
    result = audit_subject(subject, options, tell, progress)
    write_json(folder / AUDIT, result)
    progress.done()
    return result


class _InMemory:
    """Parts of an audit of which nothing is written."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.values: dict[str, Any] = {"audit_seed": seed, "empirical": None, "attacks": {}}

    def keep(self) -> None:
        """Keep nothing beyond the process."""


def audit_subject(
    subject: Subject, options: Options, tell: Tell, progress: _Progress | _InMemory | None = None,
    data: Dataset | None = None,
) -> dict[str, Any]:
    """Audit a finished run; `faults` is empty where all is well.

    progress: where finished parts are kept, None for nowhere. data: the data of the run, None to
    load them.
    """
    started = time.perf_counter()
    tell("budget")
    result = budget_of(subject, options.quick)
    record, config = subject.record, subject.config
    progress = progress or _InMemory(_seed(options))
    reason = "the budget check failed" if result["faults"] else None
    set_threads(config.threads)
    if reason is None and data is None and (
            options.parts != ("budget",) or promises_data(subject.folder, record)):
        data, reason = _data(config, record)
        if reason == CHANGED and promises_data(subject.folder, record):
            result["faults"] = [f"bound: {CHANGED}"]
        elif reason is not None:
            result["bound"] += f"; that its data are still the same was not checked ({reason})"
    if reason is not None:
        data = None
    if "empirical" in options.parts and progress.values["empirical"] is None:
        progress.values["empirical"] = (
            {"skipped": reason} if data is None
            else _empirical(config, data, record, options, progress.seed, tell))
        progress.keep()
    if "attacks" in options.parts:
        for mode in _modes(options, config):
            if mode not in progress.values["attacks"]:
                tell(f"attacks: {mode}")
                progress.values["attacks"][mode] = {"skipped": reason} if data is None else (
                    attack_mode(config, data, mode, QUICK_SCALE if options.quick else FULL_SCALE,
                                progress.seed))
                progress.keep()
    result |= {**progress.values, "quick": options.quick, "parts": list(options.parts)}
    result["faults"] = result["faults"] + _faults(result)
    result["passed"] = not result["faults"]
    result["seconds"] = time.perf_counter() - started
    return result


def _modes(options: Options, config: RunConfig) -> tuple[str, ...]:
    """Those of the options, and the run's own ways of summing where they are somebody else's."""
    own = dict.fromkeys((config.aggregation, config.statistics_way))
    return (*options.modes, *(way for way in own if way not in MODES))


def _key(folder: Path, options: Options) -> str:
    """What an audit's result depends on: its options, the run, and the code that is audited."""
    digest = hashlib.sha256(repr(options).encode() + code_digest().encode())
    digest.update(foreign_code().encode())
    for name in (CONFIG, RECORD, LEDGER):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _seed(options: Options) -> int:
    if options.seed is not None:
        return options.seed
    return int.from_bytes(os.urandom(6), "big")


def _data(config: RunConfig, record: Mapping[str, Any]) -> tuple[Dataset | None, str | None]:
    """The run's data, or why it cannot be had."""
    try:
        data = load_data(config)
    except UserError as error:
        return None, str(error)
    if data.sha256 != record["dataset"]["sha256"]:
        return None, CHANGED
    return data, None


def _empirical(
    config: RunConfig, data: Dataset, record: Mapping[str, Any], options: Options, seed: int,
    tell: Tell,
) -> dict[str, Any]:
    count = options.canaries or (QUICK if options.quick else None)
    canaries = Canaries(count=count, seed=seed, full_protocol=options.full_protocol)
    try:
        return audit_empirically(config, data, record, canaries, tell)
    except AuditError as error:
        return {"skipped": str(error)}


def _faults(result: Mapping[str, Any]) -> list[str]:
    out = []
    empirical = result["empirical"] or {}
    if empirical.get("passed") is False:
        out.append(f"empirical: {empirical['verdict']}")
    for mode, found in result["attacks"].items():
        if found.get("features", {}).get("refused") is False:
            out.append(f"attacks: {mode}: clients trained with swapped features")
    attacked = result["attacks"].values()
    reasons = {found["skipped"] for found in attacked}
    if attacked and None not in reasons and reasons != {NOTHING_SENT}:
        # An empty table proves nothing; that nothing is sent leaves nothing to attack.
        out.append("attacks: none applied, so nothing was shown: " + "; ".join(sorted(reasons)))
    return out
