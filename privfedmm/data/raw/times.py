"""When interactions were: numbers of one unit, or ISO dates, told apart and never mixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from privfedmm.data.raw.origin import Origin
from privfedmm.data.raw.reading import Line

_LEAST, _MOST = 1e8, 5e9  # seconds from 1973 to 2128: no two units share a number between
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_NUMBERS = "numbers, compared as they stand"
_DATES = "ISO dates, compared in UTC"
_BARE, _ZONED = "without a zone", "with a zone"
_SOME = "some with a zone, those without count as UTC"
_LOOKED_AT = 10_000  # dates, at least half as many where there are more
_ZONE = r"[T ]\d\d:.*(?:Z|z|[+-]\d\d:?\d\d)$"


@dataclass(frozen=True)
class _Place:
    """Where the times are, for sentences."""

    lines: pd.Series
    origin: Origin
    column: str

    def refuse(self, bad: pd.Series, what: str, fix: str) -> None:
        self.origin.refuse(bad, self.lines, self.column, what, fix)


def times_of(column: pd.Series, lines: pd.Series, origin: Origin) -> tuple[pd.Series, Line]:
    """Return times as numbers that compare, and a line of the summary that says what they are.

    column: text, numbers or moments. Numbers stay as they are, moments become microseconds since
    1970. lines: the number of each row. Raises DataError for a row without a time, for a number of
    another unit than the others, and for 0 or -1 beside dates.
    """
    place = _Place(lines, origin, str(column.name))
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _moments(column, place, _BARE if column.dt.tz is None else _ZONED)
    if pd.api.types.is_numeric_dtype(column.dtype):
        number = column
    else:
        number = pd.to_numeric(column, errors="coerce")
    finite = pd.Series(np.isfinite(number.to_numpy(dtype=float, na_value=np.nan)),
                       index=column.index)
    if not finite.mean() > 0.5 and not pd.api.types.is_numeric_dtype(column.dtype):
        return _dates(column, place)
    place.refuse(~finite, "a time that is not a number like the others", "correct it")
    number = number.astype("int64") if _whole(number) else number.astype(float)
    return number, _numbers(number, place)


def _whole(number: pd.Series) -> bool:
    return bool(pd.api.types.is_integer_dtype(number.dtype))


def _numbers(number: pd.Series, place: _Place) -> Line:
    """What unit numbers have. Raises DataError where some are of another one, or stand for none."""
    values = number.to_numpy(dtype=float)
    among = {unit: (values >= _LEAST * scale) & (values < _MOST * scale)
             for unit, scale in UNITS.items()}
    count = {unit: int(mask.sum()) for unit, mask in among.items()}
    unit = max(count, key=lambda name: count[name])
    if sum(count.values()) * 2 < len(values) or not len(values):
        return Line("times", _NUMBERS, "of no unit that is known, taken as an order",
                    {"unit": "order"})
    other = np.zeros(len(values), dtype=bool)
    for name, mask in among.items():
        if name != unit:
            other |= mask
    if other.any():
        wrong = next(name for name, mask in among.items()
                     if name != unit and mask[np.argmax(other)])
        place.refuse(pd.Series(other, index=number.index),
                     f"a time in {_WORDS[wrong]} where most are in {_WORDS[unit]}",
                     "write all of them in one unit")
    none = number[number <= 0]
    if len(none):
        place.refuse(number <= 0, f"the time {none.iloc[0]:g} beside dates, which would come "
                     "before all others", "fill it in or delete the row")
    span = pd.to_datetime([number.min(), number.max()], unit=unit, utc=True)
    return _line(_NUMBERS, f"{_WORDS[unit]} since 1970", span, {"unit": unit})


def _dates(text: pd.Series, place: _Place) -> tuple[pd.Series, Line]:
    parsed = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)
    place.refuse(parsed.isna(), "a time that is neither a number nor an ISO date", "correct it")
    # Which way they are written is said, and decides nothing: a part of them tells.
    zoned = text.iloc[::len(text) // _LOOKED_AT + 1].str.contains(_ZONE)
    how = _ZONED if zoned.all() else _SOME if zoned.any() else _BARE
    return _moments(parsed, place, how)


def _moments(column: pd.Series, place: _Place, how: str) -> tuple[pd.Series, Line]:
    place.refuse(column.isna(), "a time that is neither a number nor an ISO date", "correct it")
    utc = column.dt.tz_convert("UTC") if column.dt.tz is not None else column.dt.tz_localize("UTC")
    # The resolution that pandas picks differs between versions.
    number = utc.dt.as_unit("us").astype("int64")
    late = number >= _LEAST * UNITS["us"]
    if len(number) and late.mean() >= 0.5:
        place.refuse(number <= 0, "a time of 1970 or before beside dates of today's kind, which "
                     "would come before all others", "fill it in or delete the row")
    if not len(number):
        return number, Line("times", _DATES)
    return number, _line(_DATES, how, utc.iloc[[number.argmin(), number.argmax()]], {"unit": "iso"})


def _line(
    says: str, how: str, span: pd.Series | pd.DatetimeIndex, values: dict[str, str]
) -> Line:
    first, last = (str(moment)[:10] for moment in span)
    return Line("times", says, f"{how}, from {first} to {last}",
                {**values, "first": first, "last": last})


def tied_last(frame: pd.DataFrame) -> np.ndarray:
    """Return which users' last two interactions are of one time [users], in the order of ids.

    frame: with columns user and time. Users of one interaction are not among them.
    """
    ordered = frame[["user", "time"]].sort_values("time", kind="stable")
    back = ordered.groupby("user", sort=True).cumcount(ascending=False)
    last = ordered[back == 0].set_index("user")["time"].sort_index()
    before = ordered[back == 1].set_index("user")["time"].sort_index()
    return np.asarray(last.reindex(before.index) == before)
