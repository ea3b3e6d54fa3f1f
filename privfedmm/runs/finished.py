"""Finished runs: their record and their ranks, read as whole or named as damaged."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from privfedmm.base.files import whole
from privfedmm.evaluation.places import Ranks, from_arrays, to_arrays

RECORD, ROUNDS, RANKS = "record.json", "rounds.jsonl", "ranks.npz"
_NUMBER = (int, float)
# What every version writes and tables read: path -> type.
_FORM: dict[str, type | tuple[type, ...]] = {
    "method": str, "label": str, "backbone": str, "seed": int, "rounds_run": int,
    "dataset": dict, "dataset.name": str, "dataset.users": int, "dataset.items": int,
    "dataset.interactions": int, "dataset.sha256": str,
    "protocol": dict, "protocol.ranking": str, "protocol.candidates": str, "protocol.split": str,
    "protocol.ties": str, "protocol.selection": str,
    "metrics": dict, "metrics.validation": dict, "metrics.validation.ndcg@50": _NUMBER,
    "metrics.test": dict, "metrics.test.hr@10": _NUMBER, "metrics.test.ndcg@10": _NUMBER,
    "metrics.test.hr@50": _NUMBER, "metrics.test.ndcg@50": _NUMBER,
    "baselines": dict, "privacy": dict, "privacy.noise_source": str, "privacy.releases": list,
    "costs": dict, "costs.seconds": dict,
}


class RecordError(ValueError):
    """A record is damaged: a sentence that names the file and what is wrong with it."""


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a finished run. Raises RecordError for one that is cut short or is not
    of the form that a record has."""
    file = folder / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{file} is damaged ({error})") from error
    if not isinstance(record, dict):
        raise RecordError(f"{file} is damaged (it is no table)")
    for path, kind in _FORM.items():
        value = _at(record, path)
        if isinstance(value, bool) or not isinstance(value, kind):
            raise RecordError(f"{file} is damaged ({path} is {json.dumps(value)[:40]})")
    for name, line in record["baselines"].items():
        if not isinstance(line, dict) or not isinstance(line.get("test"), dict):
            raise RecordError(f"{file} is damaged (baselines.{name} has no test metrics)")
    return record


def _at(record: Mapping[str, Any], path: str) -> Any:
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def save_ranks(path: Path, ranks: Mapping[str, Ranks]) -> None:
    """Write ranks by target; the file is whole or not there."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **to_arrays(ranks))  # type: ignore[arg-type]
    with whole(path) as out:
        out.write(packed.getvalue())


def read_ranks(folder: Path) -> dict[str, Ranks]:
    """Return what `save_ranks` wrote. Raises RecordError for a file that is damaged or not
    there."""
    try:
        with (folder / RANKS).open("rb") as file, np.load(file, allow_pickle=False) as found:
            ranks = from_arrays({name: found[name] for name in found.files})
        _ = ranks["test"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RecordError(f"{folder / RANKS} is damaged ({error})") from error
    return ranks
