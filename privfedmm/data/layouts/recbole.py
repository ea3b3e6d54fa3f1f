"""The layout of RecBole's atomic files: NAME.inter with typed columns, and maybe NAME.item."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from privfedmm.data.layouts.features import not_read
from privfedmm.data.layouts.inter_file import PATTERN, header, inter_file
from privfedmm.data.layouts.items import empty_items
from privfedmm.data.layouts.layout import Layout
from privfedmm.data.raw import Line, Raw, Reading, array_files, item_table, read_rows


def _recognises(folder: Path) -> bool:
    return ":token" in header(folder)


def _read(folder: Path, reading: Reading) -> Raw:
    path = inter_file(folder)
    rows = read_rows(path, reading).checked(reading)
    described = path.with_suffix(".item")
    items, lines = empty_items(rows.frame), list(rows.lines)
    catalogue = _items(described) if described.exists() else None
    if catalogue is not None:
        items = catalogue.reindex(items.index, fill_value="")
        lines.append(Line("content", f"items from {described.name}"))
    unused = [file.name for file in array_files(folder)]
    notes = [f"{', '.join(unused)} not used: RecBole files do not say whose row is whose."]
    if unused:
        lines.append(not_read([f"{name} (RecBole files do not say whose row is whose)"
                               for name in unused]))
    return Raw(path.stem, path.name, rows.frame, items, notes=notes if unused else [],
               catalogue=catalogue, lines=lines, everyone=rows.everyone)


def _items(path: Path) -> pd.DataFrame:
    names = {"movie_title": "title", "class": "genres", "genre": "genres", "release_year": "year"}
    return item_table(path, "\t", "item_id").rename(columns=names)


RECBOLE = Layout(
    name="RecBole",
    summary="NAME.inter (user_id:token, item_id:token), maybe NAME.item",
    reference="RecBole's atomic files; Zhao et al., RecBole, CIKM 2021",
    recognises=_recognises,
    read=_read,
    files=(PATTERN,),
)
