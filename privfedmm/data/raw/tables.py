"""Tables of interactions and items, and the checks that every layout shares."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.raw.errors import DataError

# What files call the parts of a given split, and what we call them.
SPLITS = {
    "train": "train", "valid": "validation", "validation": "validation", "test": "test",
    "0": "train", "1": "validation", "2": "test",
}


@dataclass(frozen=True)
class Origin:
    """An origin says where a table comes from, for sentences about it.

    name: the name of the file or table. place: how to point into it, with {name}, {line} and
    {column}. word: what one of its lines is called. first: the number of the row labelled 0, which
    in a file with a header is line 2.
    """

    name: str
    place: str = "{name} line {line}"
    word: str = "line"
    first: int = 2

    def at(self, line: int, column: str) -> str:
        """Return the words that point to a line and column."""
        return self.place.format(name=self.name, line=line, column=column)

    def refuse(self, bad: pd.Series, lines: pd.Series, column: str, what: str, fix: str) -> None:
        """Refuse the first of the rows that are `bad`; both series share an index.

        what, fix: what such a row holds and what to do. Raises DataError.
        """
        if bad.any():
            raise DataError(f"{self.at(lines[bad].iloc[0], column)} holds {what}; {fix}")


def read_table(path: Path, separator: str, lenient: bool = False) -> pd.DataFrame:
    """Read a table of text without blank lines; the row labelled n is line n + 2.

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
    table: pd.DataFrame, origin: Origin, columns: Mapping[str, str], splits: Mapping[str, str]
) -> pd.DataFrame:
    """Check a table of text that is labelled by numbers, and return the frame of a `Raw`.

    columns: our name (user, item, time, split) -> the table's; time and split may name a column
    that is not there. splits: the table's label -> ours.
    Raises DataError with the line for a missing column, an empty or negative id, a duplicate
    pair, an unreadable time or an unknown split label.
    """
    for ours in ("user", "item"):
        if columns.get(ours) not in table.columns:
            raise DataError(f"{origin.name} has no column {columns.get(ours)!r}; "
                            f"its columns are {', '.join(table.columns)}")
    frame = pd.DataFrame({"user": table[columns["user"]], "item": table[columns["item"]]})
    frame["line"] = table.index.to_numpy() + origin.first
    for who in ("user", "item"):
        frame[who] = _ids(table[columns[who]], frame["line"], origin, who)
    twice = frame.duplicated(["user", "item"])
    if twice.any():
        again = frame[twice].iloc[0]
        same = (frame["user"] == again["user"]) & (frame["item"] == again["item"])
        first = frame[same].iloc[0]["line"]
        raise DataError(f"{origin.at(again['line'], columns['item'])}: user {again['user']} and "
                        f"item {again['item']} were paired on {origin.word} {first} already; keep "
                        "one of them")
    time, split = columns.get("time"), columns.get("split")
    if time in table.columns:
        frame["time"] = _times(table[time], frame["line"], origin)
    if split in table.columns:
        labels = table[split].str.strip().str.lower()
        known = labels.isin(list(splits))
        origin.refuse(~known, frame["line"], str(split), "an unknown split label",
                      f"use one of {', '.join(sorted(splits))}")
        frame["split"] = labels.map(splits)
    return frame


def _ids(column: pd.Series, lines: pd.Series, origin: Origin, who: str) -> pd.Series:
    """Ids as they stand, without blanks around them: '007' is another id than '7'."""
    text = column.str.strip()
    where = str(column.name)
    origin.refuse(text == "", lines, where, f"an empty {who} id",
                  f"fill it in or delete the {origin.word}")
    negative = text.str.fullmatch(r"-\d+")
    origin.refuse(negative, lines, where, f"a negative {who} id", "ids must be 0 or more, or text")
    return text


def _times(text: pd.Series, lines: pd.Series, origin: Origin) -> pd.Series:
    """Numbers or ISO dates, whichever most of the column is: the two do not compare."""
    where = str(text.name)
    number = pd.to_numeric(text, errors="coerce")
    finite = pd.Series(np.isfinite(number.to_numpy(dtype=float)), index=text.index)
    if finite.mean() > 0.5:
        origin.refuse(~finite, lines, where, "a time that is not a number like the others",
                      "correct it")
        return number
    parsed = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)
    origin.refuse(parsed.isna(), lines, where, "a time that is neither a number nor an ISO date",
                  "correct it")
    # The resolution that pandas picks differs between versions.
    return parsed.dt.as_unit("us").astype("int64")


def item_table(path: Path, separator: str, key: str, lenient: bool = False) -> pd.DataFrame:
    """Read item metadata, indexed by id.

    lenient: as for `read_table`. Raises DataError for a missing key column or a repeated id.
    """
    table = read_table(path, separator, lenient)
    if key not in table.columns:
        raise DataError(f"{path.name} has no column {key!r}; its columns are "
                        f"{', '.join(table.columns)}")
    # Quoted texts may run over several lines; the number is that of the line an item starts on.
    stripped = table.assign(**{key: table[key].str.strip()})
    breaks = sum(stripped[column].str.count("\n") for column in stripped.columns)
    lines = pd.Series(table.index + 2 + np.cumsum(breaks) - breaks, index=table.index)
    return items_by_id(table, lines, Origin(path.name), key)


def items_by_id(
    table: pd.DataFrame, lines: pd.Series, origin: Origin, key: str
) -> pd.DataFrame:
    """Index a table of text by its column `key` of item ids; lines: the number of each row.

    Raises DataError for an empty, negative or repeated id.
    """
    table = table.assign(**{key: _ids(table[key], lines, origin, "item")})
    twice = table[key].duplicated()
    if twice.any():
        raise DataError(f"{origin.at(lines[twice].iloc[0], key)} repeats item "
                        f"{table.loc[twice, key].iloc[0]}; keep one {origin.word} an item")
    return table.set_index(key)
