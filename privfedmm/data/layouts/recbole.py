"""The layout of RecBole's atomic files: NAME.inter with typed columns, and maybe NAME.item."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from privfedmm.data.layouts.inter_file import PATTERN, header, inter_file
from privfedmm.data.layouts.layout import Layout
from privfedmm.data.raw import SPLITS, Origin, Raw, interactions, item_table, read_table


def _recognises(folder: Path) -> bool:
    return ":token" in header(folder)


def _read(folder: Path) -> Raw:
    path = inter_file(folder)
    table = read_table(path, "\t").rename(columns=lambda c: c.split(":")[0])
    columns = {"user": "user_id", "item": "item_id", "time": "timestamp", "split": "split"}
    frame = interactions(table, Origin(path.name), columns, SPLITS)
    described = path.with_suffix(".item")
    items = pd.DataFrame(index=pd.Index(frame["item"].unique()))
    catalogue = _items(described) if described.exists() else None
    if catalogue is not None:
        items = catalogue.reindex(items.index, fill_value="")
    unused = sorted(file.name for file in folder.glob("*.npy"))
    notes = [f"{', '.join(unused)} not used: RecBole files do not say whose row is whose."]
    return Raw(path.stem, path.name, frame, items, notes=notes if unused else [],
               catalogue=catalogue)


def _items(path: Path) -> pd.DataFrame:
    table = item_table(path, "\t", "item_id:token").rename(columns=lambda c: c.split(":")[0])
    names = {"movie_title": "title", "class": "genres", "genre": "genres", "release_year": "year"}
    return table.rename(columns=names)


RECBOLE = Layout(
    name="RecBole",
    summary="NAME.inter (user_id:token, item_id:token), maybe NAME.item",
    reference="RecBole's atomic files; Zhao et al., RecBole, CIKM 2021",
    recognises=_recognises,
    read=_read,
    files=(PATTERN,),
)
