"""Sections that a report gains from what lies beside the runs: audits and comparisons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.report import audit_tables
from experiments.report.tables import Runs
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

    @property
    def is_audit(self) -> bool:
        """Return whether it is an audit, and not a comparison."""
        return "attacks" in self.value


def texts(found: Iterable[Found]) -> list[str]:
    """Return the Markdown of comparisons and audits, in the order given."""
    return [audit_text(one) if one.is_audit else compare.markdown(one.value) for one in found]


def apart(found: list[Found], every: Sequence[Runs]) -> list[list[Found]]:
    """Return what was found beside the runs of each data set, and last what is of none of them.

    What lies in a run folder, or in a folder of run folders as a comparison does, is of their data.
    All of it is of the only data set there is.
    """
    if len(every) == 1:
        return [found, []]
    homes = [{place for seeds in runs.folders.values() for folder in seeds.values()
              for place in (folder.absolute(), *folder.absolute().parents)} for runs in every]
    out: list[list[Found]] = [[] for _ in range(len(homes) + 1)]
    for one in found:
        places = [place for place, home in enumerate(homes) if one.folder in home]
        out[places[0] if len(places) == 1 else -1].append(one)
    return out


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
