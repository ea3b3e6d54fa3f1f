"""Our own layout: a table of interactions, items.csv and one feature file a modality."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from privfedmm.data.layouts.items import add_items, empty_items
from privfedmm.data.layouts.layout import Layout
from privfedmm.data.raw import DataError, Raw, Reading, read_rows

_FILES = ("interactions.csv", "interactions.csv.gz", "interactions.tsv", "interactions.tsv.gz",
          "interactions.jsonl", "interactions.jsonl.gz", "interactions.parquet")


def _recognises(folder: Path) -> bool:
    return any((folder / name).exists() for name in _FILES)


def _read(folder: Path, reading: Reading) -> Raw:
    path, *second = [folder / name for name in _FILES if (folder / name).exists()]
    if second:
        raise DataError(f"{folder.name} holds both {path.name} and {second[0].name}; keep one of "
                        "them")
    return with_items(folder, path, reading)


def with_items(folder: Path, path: Path, reading: Reading) -> Raw:
    """Return the interactions of a file and, of its folder, items, features and test items.

    Raises DataError.
    """
    rows = read_rows(path, reading).checked(reading)
    frame = rows.frame
    raw = Raw(folder.name, path.name, frame, empty_items(frame), lines=list(rows.lines),
              everyone=rows.everyone)
    listed = add_items(folder, raw, reading)
    if listed:
        raw.catalogue = raw.items
    unknown = ~frame["item"].isin(raw.items.index)
    if listed and unknown.any():
        row = frame[unknown].iloc[0]
        raise DataError(f"{path.name} line {row['line']}: item {row['item']} is not in "
                        f"{raw.item_source}; add it there or delete the line")
    last = folder / "last_interaction.csv"
    if last.exists():
        raw.given_test = _last_interactions(last, raw, listed, reading)
    return raw


def _last_interactions(path: Path, raw: Raw, listed: bool, reading: Reading) -> pd.DataFrame:
    """The test item of each user. Raises DataError for a user or pair that is not in the data.

    listed: there is a table of items. A pair whose item it leaves out is no fault: items were
    trimmed from the data, which leaves that user without a test item; nor is one whose rating is
    below the least that counts.
    """
    frame = raw.frame
    # The rows themselves carry the rating that decides, so the list needs none.
    given = read_rows(path, Reading({
        ours: theirs for ours, theirs in reading.columns.items() if ours in ("user", "item")}
    )).checked().frame[["user", "item", "line"]]
    stranger = ~given["user"].isin(frame["user"])
    pairs = pd.MultiIndex.from_frame(given[["user", "item"]])
    absent = pd.Series(
        ~pairs.isin(pd.MultiIndex.from_frame(frame[["user", "item"]])), index=given.index)
    if listed:
        absent &= given["item"].isin(raw.items.index)
    if reading.min_rating is not None:
        return given
    for fault, what in ((stranger, "has no interactions"), (absent, "has no interaction with it")):
        if fault.any():
            row = given[fault].iloc[0]
            raise DataError(f"{path.name} line {row['line']} names item {row['item']} for user "
                            f"{row['user']}, who {what} in the data; add the pair there or delete "
                            "the line")
    return given


OURS = Layout(
    name="ours",
    summary="interactions.csv, .tsv, .jsonl (or .gz of one) or .parquet, items.csv, "
            "MODALITY_feat.npy",
    reference="this project",
    recognises=_recognises,
    read=_read,
    files=_FILES,
)
