"""A table from one file, whatever its format, and what was recognised of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from privfedmm.data.raw import delimited, typed
from privfedmm.data.raw.columns import (
    NAMES,
    NEEDED,
    Columns,
    find_columns,
    plain,
    refuse_lists,
    roles,
)
from privfedmm.data.raw.errors import DataError
from privfedmm.data.raw.interactions import SPLITS, Interactions, interactions
from privfedmm.data.raw.origin import Origin
from privfedmm.data.raw.reading import AS_IT_IS, Line, Reading

# Files of MovieLens that have no line of names: these are the places of their columns.
HEADLESS: dict[str, tuple[str, ...]] = {
    "u.data": ("user_id", "item_id", "rating", "timestamp"),
    "ratings.dat": ("user_id", "item_id", "rating", "timestamp"),
}
TEXT = (".csv", ".tsv", ".txt", ".dat", ".data", ".inter", ".rating")
JSON, PARQUET, ARROW = (".jsonl", ".ndjson", ".json"), (".parquet", ".pq"), (".arrow",)
ENDINGS = (*TEXT, *JSON, *PARQUET, *ARROW)


@dataclass(frozen=True)
class Table:
    """This is a table as a file holds it, with the columns that are read.

    frame: labelled so that label + origin.first is the number of a line. columns: which is what.
    how: the format in words, for the summary.
    """

    frame: pd.DataFrame
    columns: Columns
    origin: Origin
    how: str

    def checked(self, reading: Reading = AS_IT_IS) -> Interactions:
        """Return the checked rows, with the lines `read`, `columns` and those of what was found.

        Raises DataError as `interactions` does.
        """
        rows = interactions(self.frame, self.origin, self.columns.found, SPLITS, reading)
        users, items = rows.frame["user"].nunique(), rows.frame["item"].nunique()
        read = Line(
            "read", f"{self.origin.name}, {self.how}",
            f"{len(self.frame):,} rows; {len(rows.frame):,} of {users:,} users and {items:,} items "
            "are taken",
            {"file": self.origin.name, "format": self.how, "rows": len(self.frame),
             "kept": len(rows.frame), "users": users, "items": items})
        guess = "".join(f"; several columns may be the {ours}, {self.columns.found[ours]} is taken"
                        for ours in self.columns.guessed)
        told = Line("columns", self.columns.words() + guess,
                    values={"found": dict(self.columns.found),
                            "unused": list(self.columns.unused)})
        return Interactions(rows.frame, (read, told, *rows.lines))


def suffix_of(path: Path) -> str:
    """Return the ending of a file's name that tells its format, without that of gzip."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def names_of(path: Path) -> list[str]:
    """Return the columns of a file, or none where it is no table. Raises MissingExtra."""
    if path.name.lower().removesuffix(".gz") in HEADLESS:
        return list(NAMES)
    kind = suffix_of(path)
    try:
        for endings, names in ((PARQUET, typed.parquet_names), (ARROW, typed.arrow_names),
                               (JSON, typed.json_names)):
            if kind in endings:
                return names(path)
        first = delimited.head(path)
        separator = delimited.separator_of(first, path.name)
        return [plain(name) for name in delimited.split_line(first[0], separator)]
    except DataError:
        return []


def read_rows(
    path: Path, reading: Reading = AS_IT_IS, needed: Sequence[str] = NEEDED
) -> Table:
    """Read the columns of a table of interactions. Raises DataError where they cannot be found."""
    kind = suffix_of(path)
    for endings, how, names_of, read, place in (
            (PARQUET, "parquet", typed.parquet_names, typed.read_parquet, _ROWS),
            (ARROW, "Arrow", typed.arrow_names, typed.read_arrow, _ROWS),
            (JSON, "JSON lines", typed.json_names, typed.read_json, Origin("", first=1))):
        if kind in endings:
            return _typed(path, reading, needed, how, names_of, read, place)
    return _text(path, reading, needed)


_ROWS = Origin("", "{name} row {line} (counted from 0), column {column!r},", "row", 0)


def _typed(
    path: Path, reading: Reading, needed: Sequence[str], how: str,
    names_of: Callable[[Path], list[str]],
    read: Callable[[Path, Sequence[str]], pd.DataFrame], place: Origin,
) -> Table:
    origin = Origin(path.name, place.place, place.word, place.first)
    names = names_of(path)
    refuse_lists(names, path.name)
    columns = find_columns(names, reading.columns, path.name, needed)
    frame = read(path, tuple(columns.found.values()))
    return Table(typed.as_text(frame, columns, origin), columns, origin, how)


def _text(path: Path, reading: Reading, needed: Sequence[str]) -> Table:
    first = delimited.head(path)
    separator = delimited.separator_of(first, path.name)
    fields = delimited.split_line(first[0], separator)
    refuse_lists(fields, path.name)
    names = _headless(path, fields, reading)
    how = (f"text with {delimited.SEPARATORS[separator]} between fields"
           + (", without a line of names" if names else "")
           + (", packed by gzip" if path.name.lower().endswith(".gz") else ""))
    table = delimited.read_table(path, separator, names=names)
    columns = find_columns(list(table.columns), reading.columns, path.name, needed)
    origin = Origin(path.name, first=1 if names else 2)
    return Table(table[list(dict.fromkeys(columns.found.values()))], columns, origin, how)


def _headless(path: Path, fields: Sequence[str], reading: Reading) -> list[str] | None:
    """Names for the columns of a file without a line of them; None where it has one.

    Raises DataError for a first line that looks like data.
    """
    places = [str(place) for place in range(1, len(fields) + 1)]
    given = list(reading.columns.values())
    if given and all(name in places for name in given):
        return places
    known = HEADLESS.get(path.name.lower().removesuffix(".gz"))
    # A file of that name that somebody gave a line of names has them.
    if known and not roles(fields):
        return [*known, *places[len(known):]][:len(fields)]
    if not given and not roles(fields) and any(_number(field) for field in fields):
        flags = ",".join(f"{ours}={n}" for ours, n in zip(NAMES, places, strict=False))
        raise DataError(f"{path.name}: its first line, {', '.join(fields)[:60]}, looks like data "
                        "and not like names of columns; say what is where by number, as in "
                        f"--columns {flags}")
    return None


def _number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
