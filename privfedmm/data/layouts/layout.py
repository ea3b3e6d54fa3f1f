"""What a layout of data folders is, and all layouts by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from privfedmm.base.registry import Registry
from privfedmm.data.raw import Raw


@dataclass(frozen=True)
class Layout:
    """This is one way to lay data out in a folder.

    name: what sentences call it. summary: which files and columns it needs, in words; the sentence
    for a folder that fits no layout shows it. reference: who uses it. recognises: whether a folder
    is laid out so, by its files alone; it raises `DataError` where that cannot be told. read:
    returns the interactions, items and features of such a folder; it raises `DataError` with a
    sentence for every fault. files: patterns, as for `Path.glob`, of the files that hold
    interactions; a folder with such files is refused where users' rows must not be.
    """

    name: str
    summary: str
    reference: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Raw]
    files: tuple[str, ...] = ()

    def interaction_files(self, folder: Path) -> list[str]:
        """Return the names of the files in a folder that would hold this layout's interactions."""
        return sorted(file.name for pattern in self.files for file in folder.glob(pattern))


# Built-in layouts are asked first, in this order; those of other packages follow.
LAYOUTS: Registry[Layout] = Registry("layouts", "layout", {
    "ours": "privfedmm.data.layouts.ours:OURS",
    "RecBole": "privfedmm.data.layouts.recbole:RECBOLE",
    "MMRec": "privfedmm.data.layouts.mmrec:MMREC",
    "GFMFR": "privfedmm.data.layouts.gfmfr:GFMFR",
})
