"""Files whose values have types: parquet, JSON lines, and Arrow as `datasets` writes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from privacy.extras import need
from privfedmm.data.raw.columns import NEEDED, Columns
from privfedmm.data.raw.delimited import opened
from privfedmm.data.raw.errors import DataError
from privfedmm.data.raw.origin import Origin

T = TypeVar("T")
_EXTRA = "tables"


def parquet_names(path: Path) -> list[str]:
    """Return the columns of a parquet file. Raises DataError, and MissingExtra without pyarrow."""
    parquet = need("pyarrow.parquet", _EXTRA, f"reading {path.name}")
    return _read(path, "parquet", lambda: list(parquet.read_schema(path).names))


def read_parquet(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns of a parquet file, typed. Raises DataError, and MissingExtra without pyarrow."""
    parquet = need("pyarrow.parquet", _EXTRA, f"reading {path.name}")
    return _read(path, "parquet", lambda: _plain(parquet.ParquetFile(path).read(list(columns))))


def arrow_names(path: Path) -> list[str]:
    """Return the columns of an Arrow file. Raises DataError, and MissingExtra without pyarrow."""
    return _read(path, "Arrow", lambda: list(_arrow(path).schema.names))


def read_arrow(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns of an Arrow file, typed. Raises DataError, and MissingExtra without pyarrow."""
    return _read(path, "Arrow", lambda: _plain(_arrow(path).read_all().select(list(columns))))


def _arrow(path: Path) -> Any:
    arrow = need("pyarrow", _EXTRA, f"reading {path.name}")
    ipc = need("pyarrow.ipc", _EXTRA, f"reading {path.name}")
    source = arrow.memory_map(str(path))
    try:
        return ipc.open_stream(source)
    except arrow.ArrowInvalid:
        source.seek(0)
        return ipc.open_file(source)


def _plain(table: Any) -> pd.DataFrame:
    """A table of numpy types, so that nothing after it depends on pyarrow."""
    out = {}
    for name in table.column_names:
        column = table.column(name)
        kind = str(column.type)
        if kind in ("string", "large_string") or kind.startswith("dictionary"):
            out[name] = pd.Series(column.to_numpy(zero_copy_only=False), dtype=object)
        else:
            out[name] = column.to_pandas().reset_index(drop=True)
    return pd.DataFrame(out)


def _read(path: Path, kind: str, read: Callable[[], T]) -> T:
    arrow = need("pyarrow", _EXTRA, f"reading {path.name}")
    try:
        return read()
    except (arrow.ArrowException, OSError, KeyError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path.name} cannot be read as {kind} ({why}); check that it is whole"
                        ) from error


def json_names(path: Path) -> list[str]:
    """Return the keys of the first object of a file of JSON lines. Raises DataError."""
    with opened(path) as lines:
        for line in lines:
            if line.strip():
                return list(_object(line, 1, path))
    raise DataError(f"{path.name} is empty; it needs one JSON object a line")


def read_json(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read some keys of JSON lines, typed; the row labelled n is line n + 1, without blank ones.

    Raises DataError with the line that is no JSON object.
    """
    values: dict[str, list[Any]] = {name: [] for name in columns}
    label = []
    with opened(path) as lines:
        # What is not asked for, texts of reviews for the most part, is dropped line by line.
        for number, line in enumerate(lines):
            if line.isspace():
                continue
            found = _object(line, number + 1, path)
            label.append(number)
            for name in columns:
                values[name].append(found.get(name))
    return pd.DataFrame(values, index=pd.Index(label, dtype="int64"))


def _object(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} line {number} is no JSON ({error}); write one object a line"
                        ) from error
    if not isinstance(found, dict):
        raise DataError(f"{path.name} line {number} is no JSON object; write one object with names "
                        "and values a line")
    return found


def as_text(table: pd.DataFrame, columns: Columns, origin: Origin) -> pd.DataFrame:
    """Return the columns that are read as a file of text would have them.

    Ids and labels are text; times and ratings keep their types. Raises DataError for ids that are
    neither text nor whole numbers.
    """
    out = pd.DataFrame(index=table.index)
    for ours, theirs in columns.found.items():
        column = table[theirs]
        if ours in NEEDED:
            out[theirs] = ids_as_text(column, origin, theirs)
        elif ours == "split":
            out[theirs] = column.astype(object).where(column.notna(), "").astype(str)
        else:
            out[theirs] = _measure(column)
    return out


def _measure(column: pd.Series) -> pd.Series:
    """Times or ratings: numbers and moments as they are, anything else as text."""
    kind = column.dtype
    if pd.api.types.is_bool_dtype(kind):
        return column.astype(float)
    if pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_datetime64_any_dtype(kind):
        return column
    given = column.dropna()
    if len(given) and hasattr(given.iloc[0], "isoformat"):  # dates of a parquet file
        return pd.to_datetime(column, errors="coerce")
    return column.astype(object).where(column.notna(), "").astype(str)


def ids_as_text(column: pd.Series, origin: Origin, name: str) -> pd.Series:
    """Return ids as text: text as it stands, whole numbers in digits. Raises DataError for others.
    """
    lines = pd.Series(column.index.to_numpy() + origin.first, index=column.index)
    origin.refuse(column.isna(), lines, name, "an empty id",
                  f"fill it in or drop the {origin.word}")
    # A whole column tells its kind; a mixed one is asked value by value.
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.astype(str)
    if pd.api.types.infer_dtype(column, skipna=False) != "string":
        bad = pd.Series([not isinstance(value, str | int | np.integer) or isinstance(value, bool)
                         for value in column], index=column.index, dtype=bool)
        origin.refuse(bad, lines, name, "an id that is neither text nor a whole number (type "
                      f"{column.dtype})", "make the column text or whole numbers with .astype")
    return column.astype(object).astype(str)
