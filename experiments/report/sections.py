"""Sections that a report gains from what lies beside the runs: audits and comparisons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.report import audit_tables
from privfedmm.audit import compare
from privfedmm.audit.audit_run import AUDIT
from privfedmm.base.errors import UserError
from privfedmm.config import resolve_saved
from privfedmm.runs.run import CONFIG


@dataclass(frozen=True)
class Found:
    """A result that was found beside the runs, under the name of its folder."""

    name: str
    folder: Path
    value: dict[str, Any]


def sections(folders: Iterable[Path]) -> list[str]:
    """Return the Markdown of every compare.json and audit.json below the folders, in that order.

    Raises UserError for a file that cannot be read.
    """
    places = list(folders)
    return [
        *(compare.markdown(found.value) for found in comparisons(places)),
        *(audit_text(found) for found in audits(places)),
    ]


def audit_text(found: Found) -> str:
    """Return an audit as a section, in Markdown: the one wording of it."""
    return audit_tables.markdown(found.value, found.name, way_of(found.folder))


def comparisons(folders: Iterable[Path]) -> list[Found]:
    """Return every compare.json below the folders. Raises UserError where one cannot be read."""
    return _found(folders, compare.RESULT)


def audits(folders: Iterable[Path]) -> list[Found]:
    """Return every audit.json below the folders. Raises UserError where one cannot be read or is of
    an earlier version."""
    return _found(folders, AUDIT)


def way_of(folder: Path) -> str:
    """Return how the run of a folder sums updates. Raises UserError where its config is damaged."""
    return resolve_saved(folder / CONFIG).aggregation


def _found(folders: Iterable[Path], name: str) -> list[Found]:
    out: dict[Path, dict[str, Any]] = {}
    for folder in folders:
        for file in sorted(folder.rglob(name)):
            try:
                value = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise UserError(f"report: {file} cannot be read ({error}); make it anew") from error
            if name == AUDIT and "attacks" not in value:
                raise UserError(f"report: {file} is of an earlier version; audit the run again")
            out[file.parent.absolute()] = value
    # Folders of a sweep are called after their seeds: with the folder above, they differ.
    short = Counter(place.name for place in out)
    return [Found(place.name if short[place.name] == 1 else "/".join(place.parts[-2:]), place,
                  value) for place, value in out.items()]
