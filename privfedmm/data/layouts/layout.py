"""What a layout of data folders is, and all layouts by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from privfedmm.base.registry import Registry
from privfedmm.data.raw import AS_IT_IS, Raw, Reading


@dataclass(frozen=True)
class Layout:
    """This is one way to lay data out in a folder.

    name: what sentences call it. summary: which files and columns it needs, in words; the sentence
    for a folder that fits no layout shows it. reference: who uses it. recognises: whether a folder
    is laid out so, by its files alone; it raises `DataError` where that cannot be told. read:
    returns the interactions, items and features of such a folder, with rows taken as a `Reading`
    says; it raises `DataError` with a sentence for every fault. files: patterns, as for
    `Path.glob`, of the files that hold interactions; a folder with such files is refused where
    users' rows must not be. lists_items: whether such a folder may list its items apart from the
    rows (`Raw.catalogue`, or items.csv), as a budget asks for.
    """

    name: str
    summary: str
    reference: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Reading], Raw]
    files: tuple[str, ...] = ()
    lists_items: bool = False

    def words(self) -> list[str]:
        """Return what it can, for a table."""
        return ["lists items", "under a budget as it is"] if self.lists_items else [
            "under a budget with items.csv"]

    def raw(self, folder: Path, reading: Reading = AS_IT_IS) -> Raw:
        """Return what `read` does, and say in the first line of the summary which layout it was."""
        out = self.read(folder, reading)
        first = next((line for line in out.lines if line.kind == "read"), None)
        if first is None:
            return out
        told = replace(first, says=f"{self.name} layout: {first.says}",
                       values={**first.values, "layout": self.name})
        return replace(out, lines=[told if line is first else line for line in out.lines])

    def interaction_files(self, folder: Path) -> list[str]:
        """Return the names of the files in a folder that would hold this layout's interactions."""
        return sorted(file.name for pattern in self.files for file in folder.glob(pattern))


# Built-in layouts are asked first, in this order; those of other packages follow.
LAYOUTS: Registry[Layout] = Registry("layouts", "layout", {
    "ours": "privfedmm.data.layouts.ours:OURS",
    "RecBole": "privfedmm.data.layouts.recbole:RECBOLE",
    "MMRec": "privfedmm.data.layouts.mmrec:MMREC",
    "GFMFR": "privfedmm.data.layouts.gfmfr:GFMFR",
    "MovieLens": "privfedmm.data.layouts.movielens:MOVIELENS",
    "datasets": "privfedmm.data.layouts.on_disk:ON_DISK",
    "table": "privfedmm.data.layouts.table:TABLE",
})
