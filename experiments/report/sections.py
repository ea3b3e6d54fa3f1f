"""Sections that a report gains from what lies beside the runs: audits and comparisons."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.report import audit_tables
from privfedmm.audit import compare
from privfedmm.audit.audit_run import AUDIT
from privfedmm.base.errors import UserError
from privfedmm.config import resolve_saved
from privfedmm.runs.run import CONFIG


def sections(folders: Iterable[Path]) -> list[str]:
    """Return the Markdown of every compare.json and audit.json below the folders, in that order.

    Raises UserError for a file that cannot be read.
    """
    places = list(folders)
    return [
        *(compare.markdown(found) for _, found in _found(places, compare.RESULT)),
        *(audit_tables.markdown(found, file.parent.name, way_of(file.parent))
          for file, found in _found(places, AUDIT)),
    ]


def way_of(folder: Path) -> str:
    """Return how the run of a folder sums updates. Raises UserError where its config is damaged."""
    return resolve_saved(folder / CONFIG).aggregation


def _found(folders: list[Path], name: str) -> list[tuple[Path, dict[str, Any]]]:
    out = []
    for folder in folders:
        for file in sorted(folder.rglob(name)):
            try:
                value = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise UserError(f"report: {file} cannot be read ({error}); make it anew") from error
            if name == AUDIT and "attacks" not in value:
                raise UserError(f"report: {file} is of an earlier version; audit the run again")
            out.append((file, value))
    return out
