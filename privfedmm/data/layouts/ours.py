"""Our own layout: interactions.csv, items.csv and one feature file a modality."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from privfedmm.data.layouts.items import add_items
from privfedmm.data.layouts.layout import Layout
from privfedmm.data.raw import SPLITS, DataError, Origin, Raw, interactions, read_table

_FILES = ("interactions.csv", "interactions.csv.gz")


def _recognises(folder: Path) -> bool:
    return any((folder / name).exists() for name in _FILES)


def _read(folder: Path) -> Raw:
    path, *second = [folder / name for name in _FILES if (folder / name).exists()]
    if second:
        raise DataError(f"{folder.name} holds both {' and '.join(_FILES)}; keep one of them")
    table = read_table(path, ",")
    time = "timestamp" if "timestamp" in table.columns else "date"
    columns = {"user": "user_id", "item": "item_id", "time": time, "split": "split"}
    frame = interactions(table, Origin(path.name), columns, SPLITS)
    raw = Raw(folder.name, path.name, frame, pd.DataFrame(index=pd.Index(frame["item"].unique())))
    listed = add_items(folder, raw)
    raw.catalogue = raw.items if listed else None
    unknown = ~frame["item"].isin(raw.items.index)
    if listed and unknown.any():
        row = frame[unknown].iloc[0]
        raise DataError(f"{path.name} line {row['line']}: item {row['item']} is not in items.csv; "
                        "add it there or delete the line")
    last = folder / "last_interaction.csv"
    if last.exists():
        raw.given_test = _last_interactions(last, frame, raw.items.index, listed)
    return raw


def _last_interactions(
    path: Path, frame: pd.DataFrame, items: pd.Index, listed: bool
) -> pd.DataFrame:
    """The test item of each user. Raises DataError for a user or pair that is not in the data.

    listed: there is an items.csv. A pair whose item it leaves out is no fault: items were trimmed
    from the data, which leaves that user without a test item.
    """
    columns = {"user": "user_id", "item": "item_id"}
    given = interactions(read_table(path, ","), Origin(path.name), columns, {})
    stranger = ~given["user"].isin(frame["user"])
    pairs = pd.MultiIndex.from_frame(given[["user", "item"]])
    absent = pd.Series(
        ~pairs.isin(pd.MultiIndex.from_frame(frame[["user", "item"]])), index=given.index)
    if listed:
        absent &= given["item"].isin(items)
    for fault, what in ((stranger, "has no interactions"), (absent, "has no interaction with it")):
        if fault.any():
            row = given[fault].iloc[0]
            raise DataError(f"{path.name} line {row['line']} names item {row['item']} for user "
                            f"{row['user']}, who {what} in the data; add the pair there or delete "
                            "the line")
    return given


OURS = Layout(
    name="ours",
    summary="interactions.csv or interactions.csv.gz (user_id,item_id), items.csv, "
            "MODALITY_feat.npy",
    reference="this project",
    recognises=_recognises,
    read=_read,
    files=_FILES,
)
