"""Feature files of a folder: which modality each holds, and whose row is whose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from privfedmm.data.raw import (
    DataError,
    Line,
    Raw,
    array_files,
    feature_matrix,
    modality_of,
    presence,
)
from privfedmm.data.raw.features import says_features

# What a file's ids are, given its number of rows; it raises DataError where rows do not fit.
Whose = Callable[[Path, int], np.ndarray]


def add_features(folder: Path, raw: Raw, rows: int | None, whose: Whose, how: str) -> None:
    """Add the features of a folder to `raw`, with a line of the summary that names what was read
    and what was not.

    rows: the number of rows that files must have, None for any. whose: returns the item ids in the
    order of a file's rows. how: the rule in words. A file whose name says that it holds features
    and that holds none is refused; of another name it is left out, and named. Whether a file is
    read follows from files of features alone, never from who has which items. Raises DataError.
    """
    told, left = [], []
    for path in array_files(folder):
        modality = modality_of(path)
        if modality in raw.features:
            other = next(f for f in array_files(folder) if modality_of(f) == modality)
            raise DataError(f"{other.name} and {path.name} both hold {modality}; keep one of them")
        try:
            mask = presence(path)
            matrix = feature_matrix(path, rows, mask)
        except DataError as error:
            if says_features(path):
                raise
            left.append(f"{path.name} ({str(error).partition(';')[0]})")
            continue
        raw.features[modality] = (whose(path, len(matrix)), matrix)
        if mask is not None:
            raw.present[modality] = mask
        told.append(f"{modality} {matrix.shape[1]} from {path.name}")
    if told:
        raw.lines.append(Line("content", f"features: {', '.join(told)}; {how}",
                              values={"files": [t.rpartition(" ")[2] for t in told]}))
    if left:
        raw.lines.append(not_read(left))


def not_read(names: list[str]) -> Line:
    """Return the line of the summary that names files of arrays which were not read."""
    return Line("content", f"not read: {', '.join(names)}", values={"not_read": names})


def by_row_number(raw: Raw, refusal: Callable[[Path, int, str], str]) -> Whose:
    """Return the rule that an item's id is the number of its row, counted from 0.

    refusal: the sentence for an item without a row, from the file, its rows and the item.
    """
    def whose(path: Path, rows: int) -> np.ndarray:
        for other, (names, _) in raw.features.items():
            if len(names) != rows:
                raise DataError(f"{path.name} has {rows} rows but the file of {other} has "
                                f"{len(names)}; both need one row an item")
        names = np.arange(rows).astype(str)
        strange = ~raw.frame["item"].isin(names)
        if strange.any():
            row = raw.frame[strange].iloc[0]
            raise DataError(f"{raw.source} line {row['line']}: "
                            f"{refusal(path, rows, str(row['item']))}")
        return names

    return whose
