"""From a table to checked rows: ids, times, ratings, duplicates, a given split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from privfedmm.data.raw.errors import DataError
from privfedmm.data.raw.origin import Origin
from privfedmm.data.raw.reading import AS_IT_IS, Line, Reading
from privfedmm.data.raw.times import times_of

# What files call the parts of a given split, and what we call them.
SPLITS = {
    "train": "train", "training": "train", "valid": "validation", "validation": "validation",
    "val": "validation", "dev": "validation", "test": "test",
    "0": "train", "1": "validation", "2": "test",
}


@dataclass(frozen=True)
class Interactions:
    """These are the checked rows of a table.

    frame: the columns user, item (str), line (int), and maybe time (a number) and split, in the
    order of the table. lines: what was found and dropped, for the summary.
    """

    frame: pd.DataFrame
    lines: tuple[Line, ...] = ()


def interactions(
    table: pd.DataFrame, origin: Origin, columns: Mapping[str, str], splits: Mapping[str, str],
    reading: Reading = AS_IT_IS,
) -> Interactions:
    """Check a table that is labelled by numbers, and return the rows of a `Raw`.

    columns: our name (user, item, rating, time, split) -> the table's; all but user and item may
    name a column that is not there. Ids and labels are text; times and ratings may be text,
    numbers or moments. splits: the table's label -> ours. reading: which rows count.
    Raises DataError with the line for a missing column, an empty or negative id, an unreadable or
    mixed time, a rating that cannot be compared, and an unknown split label.
    """
    for ours in ("user", "item"):
        if columns.get(ours) not in table.columns:
            raise DataError(f"{origin.name} has no column {columns.get(ours)!r}; "
                            f"its columns are {', '.join(table.columns)}")
    frame = pd.DataFrame({"user": table[columns["user"]], "item": table[columns["item"]]})
    frame["line"] = table.index.to_numpy() + origin.first
    for who in ("user", "item"):
        frame[who] = ids_of(table[columns[who]], frame["line"], origin, who)
    found: list[Line] = []
    time, split = columns.get("time"), columns.get("split")
    if time in table.columns:
        frame["time"], line = times_of(table[time], frame["line"], origin)
        found.append(line)
    if split in table.columns:
        given = {label: str(label).strip().lower() for label in table[split].unique()}
        parts = table[split].map({label: splits.get(name) for label, name in given.items()})
        origin.refuse(parts.isna(), frame["line"], str(split), "an unknown split label",
                      f"use one of {', '.join(sorted(splits))}")
        frame["split"] = parts
    liked, rated = _liked(table, columns.get("rating"), frame["line"], origin, reading)
    found += rated
    once, doubled = _once(frame, origin, columns["item"], reading)
    found += doubled
    keep = once & liked
    return Interactions(frame if keep.all() else frame[keep], tuple(found))


def ids_of(column: pd.Series, lines: pd.Series, origin: Origin, who: str) -> pd.Series:
    """Return ids as they stand, without blanks around them: '007' is another id than '7'.

    Raises DataError for an empty or negative one.
    """
    # An id stands in many rows, and is looked at once.
    place, different = pd.factorize(column)
    text = pd.Series(different, dtype=column.dtype).str.strip()
    where = str(column.name)

    def refuse(bad: pd.Series, what: str, fix: str) -> None:
        if bad.any():
            rows = pd.Series(bad.to_numpy(dtype=bool)[place], index=column.index)
            origin.refuse(rows, lines, where, what, fix)

    refuse(text == "", f"an empty {who} id", f"fill it in or delete the {origin.word}")
    refuse(text.str.fullmatch(r"-\d+"), f"a negative {who} id", "ids must be 0 or more, or text")
    return pd.Series(text.array.take(place), index=column.index, name=column.name)


def _once(
    frame: pd.DataFrame, origin: Origin, column: str, reading: Reading
) -> tuple[np.ndarray, list[Line]]:
    """Which rows [rows] are kept of pairs that stand several times. Raises DataError for one where
    that is asked for.

    A pair is one user's, so no other user's row has a say in which of its rows is kept.
    """
    by = "time" if "time" in frame else "the order of the file"
    says = ("no pair may stand twice (--duplicates error)" if reading.duplicates == "error" else
            f"of a pair that stands several times the {reading.duplicates} by {by} is kept "
            "(--duplicates)")
    twice = frame.duplicated(["user", "item"]).to_numpy()
    if not twice.any():
        return ~twice, [Line("duplicates", says, "none does", {
            "dropped": 0, "kept": reading.duplicates})]
    if reading.duplicates == "error":
        again = frame[twice].iloc[0]
        same = (frame["user"] == again["user"]) & (frame["item"] == again["item"])
        first = frame[same].iloc[0]["line"]
        raise DataError(f"{origin.at(again['line'], column)}: user {again['user']} and "
                        f"item {again['item']} were paired on {origin.word} {first} already; keep "
                        "one of them, or let --duplicates last or first choose")
    place = np.arange(len(frame))
    order = np.lexsort((place, frame["time"].to_numpy())) if "time" in frame else place
    later = frame[["user", "item"]].iloc[order].duplicated(keep=reading.duplicates).to_numpy()
    keep = np.ones(len(frame), dtype=bool)
    keep[order[later]] = False
    dropped = int((~keep).sum())
    return keep, [Line("duplicates", says, f"{dropped:,} rows dropped for it", {
        "dropped": dropped, "kept": reading.duplicates})]


def _liked(
    table: pd.DataFrame, column: str | None, lines: pd.Series, origin: Origin, reading: Reading
) -> tuple[np.ndarray, list[Line]]:
    """Which rows [rows] count as liked. Raises DataError for ratings of which some mean no."""
    every = np.ones(len(table), dtype=bool)
    least = reading.min_rating
    if column not in table.columns:
        if least is not None:
            raise DataError(f"{origin.name} has no column of ratings that --min-rating could be "
                            f"compared with; its columns are {', '.join(table.columns)}; say which "
                            "with --columns rating=NAME, or leave --min-rating out")
        return every, []
    assert column is not None
    text = table[column]
    number = pd.to_numeric(text, errors="coerce").astype(float)
    if least is None:
        return every, [_unused(number, column, origin)]
    origin.refuse(number.isna(), lines, column, "a rating that is not a number",
                  "correct it, or leave --min-rating out")
    keep = (number >= least).to_numpy()
    return keep, [Line(
        "ratings", f"rows with {column} of at least {least:g} count as liked, others are dropped",
        f"{int(keep.sum()):,} of {len(keep):,} rows kept",
        {"column": column, "min_rating": least, "kept": int(keep.sum()), "rows": len(keep)})]


def _unused(number: pd.Series, column: str, origin: Origin) -> Line:
    """The line of ratings that nothing asks for. Raises DataError for yes and no in one column."""
    says = f"{column} is not used: every row counts as liked (--min-rating)"
    low, high = number.min(), number.max()
    if number.isna().any() or not len(number):
        return Line("ratings", says, values={"column": column})
    if low == high:
        return Line("ratings", says, f"it is {low:g} in every row",
                    {"column": column, "least": low, "most": high})
    if low <= 0 and high == 1 and number.isin([-1, 0, 1]).all():
        raise DataError(f"{origin.name}: {column} is {low:g} in {int((number == low).sum()):,} of "
                        f"{len(number):,} rows, which reads as not liked; give --min-rating 1 to "
                        f"keep the others, or --min-rating {low:g} to count every row as liked")
    return Line("ratings", says, f"{column} goes from {low:g} to {high:g}",
                {"column": column, "least": low, "most": high})
