"""From what a layout read to a data set: the last steps, the same for all who read."""

from __future__ import annotations

from privfedmm.data.encoded import Encoding
from privfedmm.data.metadata import public_features
from privfedmm.data.over_catalogue import listed, prepare_over_catalogue
from privfedmm.data.prepare import prepare, some_users
from privfedmm.data.raw import Raw
from privfedmm.data.types import Dataset, Unit


def finish(
    raw: Raw, how: Encoding, k_core: int, seed: int, max_users: int = 0,
    unit: Unit | None = None,
) -> Dataset:
    """Make a data set of what a loader read: encode it where it has no features, filter, split.

    The arguments are those of `load`. Raises DataError.
    """
    raw = public_features(raw if unit is None else listed(raw), how)
    raw = some_users(raw, max_users, seed) if max_users else raw
    if unit is not None:
        return prepare_over_catalogue(raw, k_core, seed, unit)
    return prepare(raw, k_core, seed)
