"""MMRec's layout: NAME.inter with untyped columns, and features by row number."""

from __future__ import annotations

from pathlib import Path

from privfedmm.data.layouts.inter_file import PATTERN, header, inter_file
from privfedmm.data.layouts.layout import Layout
from privfedmm.data.layouts.row_numbers import read_by_row_number
from privfedmm.data.raw import Raw, Reading


def _recognises(folder: Path) -> bool:
    first = header(folder)
    return bool(first) and ":token" not in first


def _read(folder: Path, reading: Reading) -> Raw:
    path = inter_file(folder)
    return read_by_row_number(folder, path, path.stem, reading)


MMREC = Layout(
    name="MMRec",
    summary="NAME.inter (userID, itemID), image_feat.npy and/or text_feat.npy",
    reference="the toolbox MMRec; Zhou, MMRec: Simplifying Multimodal Recommendation, 2023",
    recognises=_recognises,
    read=_read,
    files=(PATTERN,),
    lists_items=True,
)
