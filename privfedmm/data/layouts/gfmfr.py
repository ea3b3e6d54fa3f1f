"""GFMFR's layout: inter.csv, and features by row number."""

from __future__ import annotations

from pathlib import Path

from privfedmm.data.layouts.layout import Layout
from privfedmm.data.layouts.row_numbers import read_by_row_number
from privfedmm.data.raw import Raw, Reading

_FILE = "inter.csv"


def _recognises(folder: Path) -> bool:
    return (folder / _FILE).exists()


def _read(folder: Path, reading: Reading) -> Raw:
    return read_by_row_number(folder, folder / _FILE, folder.name, reading)


GFMFR = Layout(
    name="GFMFR",
    summary="inter.csv (userID,itemID or userId,itemId), image_features.npy and/or "
            "text_features.npy",
    reference="the published code of GFMFR, arXiv 2509.19955",
    recognises=_recognises,
    read=_read,
    files=(_FILE,),
    lists_items=True,
)
