"""What is read of a user's data, and the checks of it: the floor on which layouts stand."""

from __future__ import annotations

from privfedmm.data.raw.columns import NAMES, Columns, candidates, find_columns
from privfedmm.data.raw.errors import DataError
from privfedmm.data.raw.features import (
    array_files,
    checked_matrix,
    feature_matrix,
    modality_of,
    presence,
)
from privfedmm.data.raw.files import Table, read_rows
from privfedmm.data.raw.interactions import SPLITS, Interactions, ids_of, interactions
from privfedmm.data.raw.origin import Origin
from privfedmm.data.raw.raw import Raw
from privfedmm.data.raw.reading import AS_IT_IS, Line, Reading
from privfedmm.data.raw.tables import item_table, items_by_id
from privfedmm.data.raw.typed import as_text, ids_as_text

__all__ = [
    "AS_IT_IS",
    "NAMES",
    "SPLITS",
    "Columns",
    "DataError",
    "Interactions",
    "Line",
    "Origin",
    "Raw",
    "Reading",
    "Table",
    "array_files",
    "as_text",
    "candidates",
    "checked_matrix",
    "feature_matrix",
    "find_columns",
    "ids_as_text",
    "ids_of",
    "interactions",
    "item_table",
    "items_by_id",
    "modality_of",
    "presence",
    "read_rows",
]
