"""The item table of a folder, with its features and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.layouts.features import add_features, by_row_number
from privfedmm.data.raw import AS_IT_IS, DataError, Raw, Reading, array_files, item_table

# The first is what we write; a table in another format has the same columns.
ITEM_FILES = ("items.csv", "items.csv.gz", "items.tsv", "items.jsonl", "items.jsonl.gz",
              "items.parquet")


def item_file(folder: Path, names: tuple[str, ...] = ITEM_FILES) -> Path | None:
    """Return the file that lists a folder's items, or None. Raises DataError for several."""
    there = [folder / name for name in names if (folder / name).is_file()]
    if len(there) > 1:
        raise DataError(f"{folder.name} holds both {there[0].name} and {there[1].name}; keep one "
                        "of them")
    return there[0] if there else None


def add_items(
    folder: Path, raw: Raw, reading: Reading = AS_IT_IS, table: pd.DataFrame | None = None
) -> bool:
    """Add a folder's item table, features and pictures to `raw`; return whether there is a table.

    table: the items, where the caller has read them. Without a table, features are taken row by
    row where all item ids are whole numbers below their length. Raises DataError for features
    that nothing gives an owner, and for faults in any of the files.
    """
    path = item_file(folder)
    arrays = array_files(folder)
    if table is None and path is not None:
        # Where texts are to be encoded, a fault in one of them is that item's alone.
        table = item_table(path, None, reading.columns.get("item"), lenient=not arrays)
        raw.item_source = path.name
    if table is not None:
        raw.items = table
    places = (folder / "images", folder / "images.zip")
    raw.pictures = next((place for place in places if place.exists()), None)
    if table is not None:
        ids = raw.items.index.to_numpy().astype(str)
        add_features(folder, raw, len(ids), lambda path, rows: ids,
                     f"rows in the order of {raw.item_source}")
        return True

    def refusal(path: Path, rows: int, item: str) -> str:
        return (f"{path.name} has no items.csv beside it, which says whose row is whose, and item "
                f"{item} is no number of one of its {rows} rows; add items.csv with a column "
                "item_id, or move the file away")

    add_features(folder, raw, None, by_row_number(raw, refusal),
                 "there is no items.csv, so item n has row n, counted from 0")
    if raw.features:
        listed = next(iter(raw.features.values()))[0]
        raw.catalogue = pd.DataFrame(index=pd.Index(listed))
    return False


def empty_items(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table of items that are known by their ids in the rows alone."""
    return pd.DataFrame(index=pd.Index(np.asarray(frame["item"].unique())))
