"""Tables of items and other lists: one line an id, the rest as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.raw import typed
from privfedmm.data.raw.columns import column_of
from privfedmm.data.raw.delimited import read_table
from privfedmm.data.raw.errors import DataError
from privfedmm.data.raw.files import ARROW, JSON, PARQUET, suffix_of
from privfedmm.data.raw.interactions import ids_of
from privfedmm.data.raw.origin import Origin


def item_table(
    path: Path, separator: str | None, key: str | None = None, lenient: bool = False,
    latin: bool = False, ours: str = "item",
) -> pd.DataFrame:
    """Read item metadata as text, indexed by id.

    separator: None to find it. key: the column of ids, where the table has it; else it is the one
    that is known as `ours`. lenient, latin: as for `read_table`. Raises DataError for a missing
    key column or a repeated id.
    """
    for endings, names_of, read in (
            (PARQUET, typed.parquet_names, typed.read_parquet),
            (ARROW, typed.arrow_names, typed.read_arrow),
            (JSON, typed.json_names, typed.read_json)):
        if suffix_of(path) in endings:
            names = names_of(path)
            key = _key(names, key, path.name, ours)
            lines = Origin(path.name, first=1 if endings is JSON else 0,
                           word="line" if endings is JSON else "row")
            table = _as_text(read(path, names), key, lines)
            return items_by_id(table, table.index.to_series() + lines.first, lines, key)
    table = read_table(path, separator, lenient, lines_in_fields=True, latin=latin)
    key = _key(list(table.columns), key, path.name, ours)
    # Quoted texts may run over several lines; the number is that of the line an item starts on.
    breaks = sum(table[column].str.count("\n") for column in table.columns)
    numbers = pd.Series(table.index + 2 + np.cumsum(breaks) - breaks, index=table.index)
    return items_by_id(table, numbers, Origin(path.name), key)


def _key(names: Sequence[str], key: str | None, name: str, ours: str) -> str:
    found = key if key in names else column_of(names, ours)
    if found is None:
        raise DataError(f"{name} has no column {f'{ours}_id'!r}; its columns are "
                        f"{', '.join(names)}; rename the one that holds the ids")
    return found


def _as_text(table: pd.DataFrame, key: str, origin: Origin) -> pd.DataFrame:
    """Every value as text; of lists their parts, a line each."""
    out = {}
    for name in table.columns:
        column = table[name]
        if name == key:
            out[name] = typed.ids_as_text(column, origin, name)
        else:
            out[name] = pd.Series([_words(value) for value in column], index=table.index)
    return pd.DataFrame(out)


def _words(value: object) -> str:
    if isinstance(value, list | tuple | np.ndarray):
        return "\n".join(_words(part) for part in value)
    return "" if value is None or value != value else str(value)


def items_by_id(
    table: pd.DataFrame, lines: pd.Series, origin: Origin, key: str
) -> pd.DataFrame:
    """Index a table of text by its column `key` of item ids; lines: the number of each row.

    Raises DataError for an empty, negative or repeated id.
    """
    table = table.assign(**{key: ids_of(table[key], lines, origin, "item")})
    twice = table[key].duplicated()
    if twice.any():
        raise DataError(f"{origin.at(lines[twice].iloc[0], key)} repeats item "
                        f"{table.loc[twice, key].iloc[0]}; keep one {origin.word} an item")
    return table.set_index(key)
