"""Interactions as a loader found them, and the checks that every layout shares."""

from __future__ import annotations

import csv
import gzip
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.types import DataError


@dataclass
class Raw:
    """What a loader hands on.

    frame: columns user, item (str), line (int, as in the file), time (number or absent), split
    (train, validation, test or absent), in file order. items: metadata indexed by item id (str).
    features: modality -> (item ids in row order, matrix). present: modality -> bool for the same
    rows, only where some are missing. pictures: the folder or zip of them.
    given_test: user -> item where the layout names it.
    """

    name: str
    source: str
    frame: pd.DataFrame
    items: pd.DataFrame
    features: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    present: dict[str, np.ndarray] = field(default_factory=dict)
    feature_notes: dict[str, str] = field(default_factory=dict)
    pictures: Path | None = None
    given_test: pd.DataFrame | None = None
    notes: list[str] = field(default_factory=list)


def read_table(path: Path, separator: str, lenient: bool = False) -> pd.DataFrame:
    """A text table, every value a string, without blank lines; the row labelled n is line n + 2.

    lenient: bytes that are not UTF-8 become lone surrogates, for the caller to find.
    Raises DataError where the file cannot be read as one.
    """
    # In tab-separated files a quotation mark is a letter like any other.
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False,
                            quoting=quoting, skip_blank_lines=False,
                            encoding_errors="surrogateescape" if lenient else "strict")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} line {_undecodable_line(path)} is not UTF-8 text; "
                        "save the file as UTF-8 and try again") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, EOFError, OSError,
            zlib.error) as error:
        raise DataError(f"{path.name} cannot be read as a table ({str(error).strip()}); "
                        "check that it is whole and that its lines have equally many "
                        "columns") from error
    blank = table.iloc[:, 0] == ""
    blank[blank] = (table[blank] == "").all(axis=1)
    return table[~blank]


def _undecodable_line(path: Path) -> int:
    """Number of the first line that is not UTF-8."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


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
    frame["line"] = table.index.to_numpy() + 2
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
    """Numbers or ISO dates, whichever most of the column is: the two do not compare."""
    number = pd.to_numeric(text, errors="coerce")
    finite = pd.Series(np.isfinite(number.to_numpy(dtype=float)), index=text.index)
    if finite.mean() > 0.5:
        _refuse(frame, ~finite, path, "a time that is not a number like the others", "correct it")
        return number
    parsed = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)
    _refuse(frame, parsed.isna(), path, "a time that is neither a number nor an ISO date",
            "correct it")
    # The resolution that pandas picks differs between versions.
    return parsed.dt.as_unit("us").astype("int64")


def _refuse(frame: pd.DataFrame, bad: pd.Series, path: Path, what: str, fix: str) -> None:
    if bad.any():
        line = frame.loc[bad, "line"].iloc[0]
        raise DataError(f"{path.name} line {line} holds {what}; {fix}")


def item_table(path: Path, separator: str, key: str, lenient: bool = False) -> pd.DataFrame:
    """Item metadata indexed by id. Raises DataError for a missing key column or a repeated id."""
    table = read_table(path, separator, lenient)
    if key not in table.columns:
        raise DataError(f"{path.name} has no column {key!r}; its columns are "
                        f"{', '.join(table.columns)}")
    table = table.assign(**{key: table[key].str.strip()})
    # Quoted texts may run over several lines; the number is that of the line an item starts on.
    breaks = sum(table[column].str.count("\n") for column in table.columns)
    lines = pd.DataFrame({"line": table.index + 2 + np.cumsum(breaks) - breaks}, index=table.index)
    _refuse(lines, table[key] == "", path, "an empty item id", "fill it in or delete the line")
    negative = table[key].str.fullmatch(r"-\d+")
    _refuse(lines, negative, path, "a negative item id", "ids must be 0 or more, or text")
    twice = table[key].duplicated()
    if twice.any():
        raise DataError(f"{path.name} line {lines.loc[twice, 'line'].iloc[0]} repeats item "
                        f"{table.loc[twice, key].iloc[0]}; keep one line an item")
    return table.set_index(key)


def presence(path: Path) -> np.ndarray | None:
    """MODALITY_mask.npy beside a feature file: [rows] bool, which items have the modality.

    None without such a file. Raises DataError for another shape or kind.
    """
    path = _mask_file(path)
    if not path.exists():
        return None
    try:
        mask = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path.name} is not a .npy array: {error}") from error
    if mask.dtype != np.bool_ or mask.ndim != 1:
        raise DataError(f"{path.name} must hold one true or false (bool) an item; "
                        f"it has shape {mask.shape} and type {mask.dtype}")
    return np.asarray(mask)


def _mask_file(path: Path) -> Path:
    return path.with_name(path.name.rpartition("_")[0] + "_mask.npy")


def feature_matrix(
    path: Path, rows: int | None, present: np.ndarray | None = None
) -> np.ndarray:
    """A [rows, F] float32 matrix from a .npy file; rows None: any number.

    present [rows]: rows that it marks as missing may hold anything and become 0.
    Raises DataError for another shape or kind, too few or many rows, NaN or infinity (with row).
    """
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path.name} is not a .npy array of numbers: {error}") from error
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or matrix.shape[1] == 0:
        raise DataError(f"{path.name} must be a matrix of numbers, one row an item; it has shape "
                        f"{matrix.shape} and type {matrix.dtype}")
    if rows is not None and len(matrix) != rows:
        raise DataError(f"{path.name} has {len(matrix)} rows but there are {rows} items; "
                        "give one row an item, in the order of the item table")
    if present is not None and len(present) != len(matrix):
        raise DataError(f"{_mask_file(path).name} has {len(present)} values but {path.name} has "
                        f"{len(matrix)} rows; give one value a row")
    with np.errstate(over="ignore"):
        single = matrix.astype(np.float32)
    if present is not None:
        single[~present] = 0
    bad = ~np.isfinite(single).all(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{path.name} row {row} (counted from 0) holds NaN, infinity or a number "
                        "too large for 32 bits; replace it, drop the item, or mark it missing in "
                        f"{_mask_file(path).name}")
    return single
