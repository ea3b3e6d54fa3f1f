"""What MMRec's and GFMFR's layouts share: an item's id is the number of its feature row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.raw import (
    SPLITS,
    DataError,
    Origin,
    Raw,
    feature_matrix,
    interactions,
    presence,
    read_table,
)


def read_by_row_number(
    folder: Path, path: Path, separator: str, suffix: str, name: str
) -> Raw:
    """Read interactions from `path` and every MODALITY`suffix` of the folder.

    Raises DataError for faults in the files, feature files of unequal length, and items without a
    feature row.
    """
    table = read_table(path, separator)
    users = "userID" if "userID" in table.columns else "user_id"
    items_column = "itemID" if "itemID" in table.columns else "item_id"
    time = "timestamp" if "timestamp" in table.columns else "date"
    split = "x_label" if "x_label" in table.columns else "split"
    columns = {"user": users, "item": items_column, "time": time, "split": split}
    frame = interactions(table, Origin(path.name), columns, SPLITS)
    ids = frame["item"].unique()
    features: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    present: dict[str, np.ndarray] = {}
    for file in sorted(folder.glob(f"*{suffix}")):
        mask = presence(file)
        matrix = feature_matrix(file, None, mask)
        if mask is not None:
            present[file.name.removesuffix(suffix)] = mask
        for other, (names, _) in features.items():
            if len(names) != len(matrix):
                raise DataError(f"{file.name} has {len(matrix)} rows but {other}{suffix} has "
                                f"{len(names)}; both need one row an item")
        names = np.arange(len(matrix)).astype(str)
        strange = ~frame["item"].isin(names)
        if strange.any():
            row = frame[strange].iloc[0]
            raise DataError(f"{path.name} line {row['line']}: item {row['item']} has no row in "
                            f"{file.name}, which has {len(matrix)} rows; item ids must be row "
                            "numbers from 0")
        features[file.name.removesuffix(suffix)] = (names, matrix)
    # An item's id is the number of its row, so the feature files list the items.
    listed = [names for names, _ in features.values()][:1]
    catalogue = pd.DataFrame(index=pd.Index(listed[0])) if listed else None
    return Raw(name, path.name, frame, pd.DataFrame(index=pd.Index(ids)), features, present,
               catalogue=catalogue)
