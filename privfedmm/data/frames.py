"""A data set from tables in memory, on the same path as one from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from privfedmm.data.encoded import Encoding
from privfedmm.data.finish import finish
from privfedmm.data.loading import feature_cache
from privfedmm.data.raw import (
    AS_IT_IS,
    Origin,
    Raw,
    Reading,
    Table,
    as_text,
    candidates,
    checked_matrix,
    find_columns,
    ids_as_text,
    items_by_id,
)
from privfedmm.data.types import DataError, Dataset
from privfedmm.encoders import EncoderSettings

_ROW = "{name} row {line} (counted from 0), column {column!r},"
_INTERACTIONS = Origin("interactions", _ROW, "row", 0)
_ITEMS = Origin("items", _ROW, "row", 0)

Features = Mapping[str, "np.ndarray | pd.DataFrame"]


def from_pandas(
    interactions: pd.DataFrame,
    items: pd.DataFrame | None,
    features: Features | None,
    *,
    name: str,
    k_core: int,
    split_seed: int,
    reading: Reading = AS_IT_IS,
    encoding: Encoding | None = None,
) -> Dataset:
    """Make a data set from tables in memory, as `Dataset.from_pandas` documents.

    reading: what columns are called and which rows count. encoding: how texts are encoded, as for
    `load`. Raises DataError.
    """
    raw = raw_of_frames(interactions, items, features, name, reading)
    how = encoding or Encoding(EncoderSettings(), feature_cache())
    data = finish(raw, how, k_core, split_seed)
    if raw.catalogue is None:
        return data
    return replace(data, over_catalogue=partial(finish, raw, how, k_core, split_seed))


def raw_of_frames(
    rows: pd.DataFrame, items: pd.DataFrame | None, features: Features | None, name: str,
    reading: Reading,
) -> Raw:
    """Return what a loader would have read from these tables in a folder. Raises DataError.

    The arguments are those of `from_pandas`.
    """
    _refuse_other("interactions", rows)
    named = rows.reset_index(drop=True).rename(columns=str)
    columns = find_columns(list(named.columns), reading.columns, _INTERACTIONS.name)
    table = Table(as_text(named, columns, _INTERACTIONS), columns, _INTERACTIONS,
                  "a table in memory")
    checked = table.checked(reading)
    frame, found = checked.frame, columns.found
    if items is None:
        described = pd.DataFrame(index=pd.Index(frame["item"].unique()))
    else:
        described = _item_table(items, reading.columns.get("item"))
        unknown = ~frame["item"].isin(described.index)
        if unknown.any():
            row = frame[unknown].iloc[0]
            raise DataError(f"{_INTERACTIONS.at(row['line'], found['item'])} names item "
                            f"{row['item']}, which is not in items; add it there or drop the row")
    raw = Raw(name, "interactions", frame, described, item_source="items",
              catalogue=None if items is None else described, lines=list(checked.lines),
              everyone=checked.everyone)
    for modality, given in (features or {}).items():
        _add_features(raw, modality, given, listed=items is not None)
    return raw


def _item_table(items: pd.DataFrame, given: str | None) -> pd.DataFrame:
    """Items indexed by id, every value text. given: what the column of ids is called, if told."""
    _refuse_other("items", items)
    there = [given] if given and given in items.columns else candidates(
        [str(name) for name in items.columns], "item")
    if len(there) > 1:
        raise DataError(f"items has the columns {' and '.join(there)}; say which holds the ids "
                        f"with columns={{'item': {there[0]!r}}}")
    key = there[0] if there else None
    table = items
    if key is None:
        counted = isinstance(items.index, pd.RangeIndex) and not candidates(
            [str(items.index.name)], "item")
        # Numbers that pandas counted by itself are no ids that anybody gave.
        if counted or items.index.nlevels > 1:
            raise DataError("items has neither a column 'item_id' nor item ids as its index; "
                            "rename the column or use items.set_index(...)")
        key = "item_id"
        table = items.assign(**{key: items.index})
    table = table.reset_index(drop=True)
    text = pd.DataFrame({
        str(column): ids_as_text(table[column], _ITEMS, key) if column == key
        else _text(table[column]) for column in table.columns})
    return items_by_id(text, pd.Series(text.index, index=text.index), _ITEMS, key)


def _text(column: pd.Series) -> pd.Series:
    """Values as a file would have them: nothing for missing ones, ISO for moments."""
    iso = pd.api.types.is_datetime64_any_dtype(column.dtype)
    text = [value.isoformat() if iso else str(value) for value in column[column.notna()]]
    out = pd.Series("", index=column.index, dtype=str)
    out[column.notna()] = text
    return out


def _add_features(
    raw: Raw, modality: str, given: np.ndarray | pd.DataFrame, listed: bool
) -> None:
    """Add a modality to `raw`; rows that are NaN throughout, or not there, are missing ones."""
    what = f"features[{modality!r}]"
    if isinstance(given, pd.DataFrame):
        matrix = _by_id(given, raw.items.index, what)
    elif listed:
        matrix = np.asarray(given)
    else:
        raise DataError(f"{what} is an array, but there is no table of items that says whose row "
                        "is whose; give items, or a DataFrame indexed by item id")
    present = None
    if matrix.ndim == 2 and matrix.shape[1] and matrix.dtype.kind == "f":
        present = ~np.isnan(matrix).all(axis=1)
    whole = present is None or bool(present.all())
    ids = raw.items.index.to_numpy().astype(str)
    raw.features[modality] = (ids, checked_matrix(
        matrix, what, len(ids), None if whole else present, what,
        "make its whole row NaN if it lacks the modality"))
    if present is not None and not whole:
        raw.present[modality] = present


def _by_id(given: pd.DataFrame, items: pd.Index, what: str) -> np.ndarray:
    """The rows of these items [items, F], NaN where there is none."""
    origin = Origin(what, _ROW, "row", 0)
    ids = ids_as_text(pd.Series(np.asarray(given.index)), origin, "index").str.strip()
    twice = ids.duplicated()
    if twice.any():
        raise DataError(f"{what} has two rows for item {ids[twice].iloc[0]}; keep one")
    if len(items) and not ids.isin(items).any():
        raise DataError(f"{what} has a row of no item; index it by item id, of which the first is "
                        f"{items[0]!r}")
    for column, kind in given.dtypes.items():
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
            raise DataError(f"{what} has a column {column!r} that holds no numbers; drop it, or "
                            "set it as the index if it holds item ids")
    rows = given.set_axis(pd.Index(ids), axis="index")
    return rows.reindex(items).to_numpy(dtype=np.float64, na_value=np.nan)


def _refuse_other(what: str, given: object) -> None:
    if not isinstance(given, pd.DataFrame):
        raise DataError(f"{what} is a {type(given).__name__}; give a pandas DataFrame")
