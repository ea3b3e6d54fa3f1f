"""A data set from tables in memory, on the same path as one from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from privfedmm.data.encoded import Encoding
from privfedmm.data.loading import feature_cache, finish
from privfedmm.data.raw import SPLITS, Origin, Raw, checked_matrix, interactions, items_by_id
from privfedmm.data.types import DataError, Dataset
from privfedmm.encoders import EncoderSettings

# Our name -> what a column of it may be called. A rating is accepted and not read.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userId", "userID"),
    "item": ("item", "item_id", "itemId", "itemID"),
    "time": ("time", "timestamp", "date", "datetime"),
    "rating": ("rating",),
    "split": ("split", "x_label"),
}
_NEEDED = ("user", "item")
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
    columns: Mapping[str, str] | None,
    encoding: Encoding | None = None,
) -> Dataset:
    """Make a data set from tables in memory, as `Dataset.from_pandas` documents.

    encoding: how texts are encoded, as for `load`. Raises DataError.
    """
    raw = raw_of_frames(interactions, items, features, name, columns or {})
    how = encoding or Encoding(EncoderSettings(), feature_cache())
    data = finish(raw, how, k_core, split_seed)
    if raw.catalogue is None:
        return data
    return replace(data, over_catalogue=partial(finish, raw, how, k_core, split_seed))


def raw_of_frames(
    rows: pd.DataFrame, items: pd.DataFrame | None, features: Features | None, name: str,
    columns: Mapping[str, str],
) -> Raw:
    """Return what a loader would have read from these tables in a folder. Raises DataError.

    The arguments are those of `from_pandas`.
    """
    found = _columns(rows, columns)
    table = pd.DataFrame(index=pd.RangeIndex(len(rows)))
    for ours, theirs in found.items():
        column = rows[theirs].reset_index(drop=True)
        table[theirs] = (
            _ids(column, _INTERACTIONS, theirs) if ours in _NEEDED else _text(column))
    frame = interactions(table, _INTERACTIONS, found, SPLITS)
    if items is None:
        described = pd.DataFrame(index=pd.Index(frame["item"].unique()))
    else:
        described = _item_table(items, columns.get("item"))
        unknown = ~frame["item"].isin(described.index)
        if unknown.any():
            row = frame[unknown].iloc[0]
            raise DataError(f"{_INTERACTIONS.at(row['line'], found['item'])} names item "
                            f"{row['item']}, which is not in items; add it there or drop the row")
    raw = Raw(name, "interactions", frame, described, item_source="items",
              catalogue=None if items is None else described)
    for modality, given in (features or {}).items():
        _add_features(raw, modality, given, listed=items is not None)
    return raw


def _columns(rows: pd.DataFrame, given: Mapping[str, str]) -> dict[str, str]:
    """Our name -> the table's, for the columns that are read."""
    _refuse_other("interactions", rows)
    strange = [name for name in given if name not in COLUMNS]
    if strange:
        raise DataError(f"columns names {strange[0]!r}, which is none of {', '.join(COLUMNS)}; "
                        "take it out or correct it")
    found = {}
    for ours, names in COLUMNS.items():
        if ours in given and given[ours] not in rows.columns:
            raise DataError(f"interactions has no column {given[ours]!r}, which columns gives for "
                            f"{ours}; its columns are {_listed(rows)}")
        there = [given[ours]] if ours in given else [n for n in names if n in rows.columns]
        if len(there) > 1:
            raise DataError(f"interactions has the columns {' and '.join(there)}; say which is the "
                            f"{ours} with columns={{{ours!r}: {there[0]!r}}}")
        if not there and ours in _NEEDED:
            raise DataError(f"interactions has no column {names[0]!r} (nor {', '.join(names[1:])}) "
                            f"among {_listed(rows)}; rename one or give "
                            f"columns={{{ours!r}: ...}}")
        if there and ours != "rating":
            found[ours] = there[0]
    return found


def _item_table(items: pd.DataFrame, given: str | None) -> pd.DataFrame:
    """Items indexed by id, every value text. given: what the column of ids is called, if told."""
    _refuse_other("items", items)
    names = [given] if given and given in items.columns else list(COLUMNS["item"])
    there = [name for name in names if name in items.columns]
    if len(there) > 1:
        raise DataError(f"items has the columns {' and '.join(there)}; say which holds the ids "
                        f"with columns={{'item': {there[0]!r}}}")
    key = there[0] if there else None
    table = items
    if key is None:
        counted = isinstance(items.index, pd.RangeIndex) and items.index.name not in names
        # Numbers that pandas counted by itself are no ids that anybody gave.
        if counted or items.index.nlevels > 1:
            raise DataError("items has neither a column 'item_id' nor item ids as its index; "
                            "rename the column or use items.set_index(...)")
        key = "item_id"
        table = items.assign(**{key: items.index})
    table = table.reset_index(drop=True)
    text = pd.DataFrame({
        str(column): _ids(table[column], _ITEMS, key) if column == key else _text(table[column])
        for column in table.columns})
    return items_by_id(text, pd.Series(text.index, index=text.index), _ITEMS, key)


def _ids(column: pd.Series, origin: Origin, name: str) -> pd.Series:
    """Ids as text: text as it stands, whole numbers in digits. Raises DataError for others."""
    missing = column.isna()
    origin.refuse(missing, _numbers(column), name, "an empty id", "fill it in or drop the row")
    # A whole column tells its kind; a mixed one is asked value by value.
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.astype(str)
    bad = pd.Series([not isinstance(value, str | int | np.integer) or isinstance(value, bool)
                     for value in column], index=column.index, dtype=bool)
    kind = str(column.dtype)
    origin.refuse(bad, _numbers(column), name, f"an id that is neither text nor a whole number "
                  f"(type {kind})", "make the column text or whole numbers with .astype")
    return column.astype(object).astype(str)


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
    ids = _ids(pd.Series(given.index), origin, "index").str.strip()
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


def _listed(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table.columns)) or "none"


def _numbers(column: pd.Series) -> pd.Series:
    """The place of every row, counted from 0."""
    return pd.Series(np.arange(len(column)), index=column.index)
