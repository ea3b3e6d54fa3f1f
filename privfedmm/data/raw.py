"""Interactions as a loader found them, and the checks that every layout shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.types import DataError


@dataclass
class Raw:
    """What a loader hands on.

    frame: columns user, item (str), line (int, as in the file), time (float or absent), split
    (train, validation, test or absent), in file order. items: metadata indexed by item id (str).
    features: modality -> (item ids in row order, matrix). given_test: user -> item where the
    layout names it.
    """

    name: str
    source: str
    frame: pd.DataFrame
    items: pd.DataFrame
    features: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    given_test: pd.DataFrame | None = None
    notes: list[str] = field(default_factory=list)


def read_table(path: Path, separator: str) -> pd.DataFrame:
    """A text table, every value a string. Raises DataError where it cannot be read as one."""
    try:
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text (byte {error.start}); "
                        "save it as UTF-8 and try again") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, EOFError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as a table: {error}") from error


def interactions(
    table: pd.DataFrame, path: Path, columns: dict[str, str], splits: dict[str, str]
) -> pd.DataFrame:
    """The common frame. columns: our name -> the file's; splits: the file's label -> ours.

    Raises DataError with the line for a missing column, an empty or negative id, a duplicate
    pair, an unreadable time or an unknown split label.
    """
    for ours in ("user", "item"):
        if columns.get(ours) not in table.columns:
            raise DataError(f"{path.name} has no column {columns.get(ours)!r}; "
                            f"its columns are {', '.join(table.columns)}")
    frame = pd.DataFrame({"user": table[columns["user"]], "item": table[columns["item"]]})
    frame["line"] = np.arange(len(frame)) + 2
    for who in ("user", "item"):
        text = frame[who].str.strip()
        _refuse(frame, text == "", path, f"an empty {who} id", "fill it in or delete the line")
        negative = text.str.fullmatch(r"-\d+")
        _refuse(frame, negative, path, f"a negative {who} id", "ids must be 0 or more, or text")
        frame[who] = text
    twice = frame.duplicated(["user", "item"])
    if twice.any():
        again = frame[twice].iloc[0]
        same = (frame["user"] == again["user"]) & (frame["item"] == again["item"])
        first = frame[same].iloc[0]["line"]
        raise DataError(f"{path.name} line {again['line']}: user {again['user']} and item "
                        f"{again['item']} were paired on line {first} already; keep one of them")
    if columns.get("time") in table.columns:
        frame["time"] = _times(frame, table[columns["time"]], path)
    if columns.get("split") in table.columns:
        labels = table[columns["split"]].str.strip().str.lower()
        known = labels.isin(list(splits))
        _refuse(frame, ~known, path, "an unknown split label",
                f"use one of {', '.join(sorted(splits))}")
        frame["split"] = labels.map(splits)
    return frame


def _times(frame: pd.DataFrame, text: pd.Series, path: Path) -> pd.Series:
    number = pd.to_numeric(text, errors="coerce")
    if number.isna().any():
        parsed = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)
        bad = parsed.isna() & number.isna()
        _refuse(frame, bad, path, "a time that is neither a number nor an ISO date", "correct it")
        number = number.where(number.notna(), parsed.astype("int64") / 1e9)
    return number.astype(float)


def _refuse(frame: pd.DataFrame, bad: pd.Series, path: Path, what: str, fix: str) -> None:
    if bad.any():
        line = frame.loc[bad, "line"].iloc[0]
        raise DataError(f"{path.name} line {line} holds {what}; {fix}")


def item_table(path: Path, separator: str, key: str) -> pd.DataFrame:
    """Item metadata indexed by id. Raises DataError for a missing key column or a repeated id."""
    table = read_table(path, separator)
    if key not in table.columns:
        raise DataError(f"{path.name} has no column {key!r}; its columns are "
                        f"{', '.join(table.columns)}")
    table[key] = table[key].str.strip()
    twice = table[key].duplicated()
    if twice.any():
        line = int(np.flatnonzero(twice.to_numpy())[0]) + 2
        raise DataError(f"{path.name} line {line} repeats item {table[key][twice].iloc[0]}; "
                        "keep one line an item")
    return table.set_index(key)


def feature_matrix(path: Path, rows: int | None) -> np.ndarray:
    """A [rows, F] float32 matrix from a .npy file; rows None: any number.

    Raises DataError for another shape or kind, too few or many rows, NaN or infinity (with row).
    """
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path.name} is not a .npy array of numbers: {error}") from error
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise DataError(f"{path.name} must be a matrix of numbers, one row an item; it has shape "
                        f"{matrix.shape} and type {matrix.dtype}")
    if rows is not None and len(matrix) != rows:
        raise DataError(f"{path.name} has {len(matrix)} rows but there are {rows} items; "
                        "give one row an item, in the order of the item table")
    bad = ~np.isfinite(matrix.astype(np.float64)).all(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{path.name} row {row} (counted from 0) holds NaN or infinity; "
                        "replace it or drop the item")
    return matrix.astype(np.float32)
