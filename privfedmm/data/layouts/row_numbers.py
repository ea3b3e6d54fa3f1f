"""What MMRec's and GFMFR's layouts share: an item's id is the number of its feature row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from privfedmm.data.layouts.features import add_features, by_row_number
from privfedmm.data.layouts.items import empty_items
from privfedmm.data.raw import Raw, Reading, read_rows


def read_by_row_number(folder: Path, path: Path, name: str, reading: Reading) -> Raw:
    """Read interactions from `path` and every file of features in the folder.

    Raises DataError for faults in the files, feature files of unequal length, and items without a
    feature row.
    """
    rows = read_rows(path, reading).checked(reading)
    raw = Raw(name, path.name, rows.frame, empty_items(rows.frame), lines=list(rows.lines))

    def refusal(file: Path, count: int, item: str) -> str:
        return (f"item {item} has no row in {file.name}, which has {count} rows; item ids must be "
                "row numbers from 0; or move the file away")

    add_features(folder, raw, None, by_row_number(raw, refusal),
                 "item n has row n, counted from 0")
    # An item's id is the number of its row, so the feature files list the items.
    listed = [names for names, _ in raw.features.values()][:1]
    raw.catalogue = pd.DataFrame(index=pd.Index(listed[0])) if listed else None
    return raw
