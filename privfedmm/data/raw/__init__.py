"""What is read of a user's data, and the checks of it: the floor on which layouts stand."""

from __future__ import annotations

from privfedmm.data.raw.errors import DataError
from privfedmm.data.raw.features import checked_matrix, feature_matrix, presence
from privfedmm.data.raw.raw import Raw
from privfedmm.data.raw.tables import (
    SPLITS,
    Origin,
    interactions,
    item_table,
    items_by_id,
    read_table,
)

__all__ = [
    "SPLITS",
    "DataError",
    "Origin",
    "Raw",
    "checked_matrix",
    "feature_matrix",
    "interactions",
    "item_table",
    "items_by_id",
    "presence",
    "read_table",
]
