"""Taking modalities away from items at random, to measure what their absence costs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from privfedmm.data.prepare import content_hash
from privfedmm.data.types import DataError, Dataset, Unit


def drop_features(data: Dataset, rate: float, seed: int) -> Dataset:
    """Drop each modality of each item with probability `rate`, independently (seeded).

    Raises DataError where a modality would be left with no item.
    """
    rng = np.random.default_rng([seed, 5])
    present = {}
    for name in sorted(data.features):
        mask = data.present.get(name, np.ones(data.num_items, dtype=bool))
        mask = mask & (rng.random(data.num_items) >= rate)
        if not mask.any():
            raise DataError(f"drop_features: no item would be left with {name}; lower the rate")
        if not mask.all():
            present[name] = mask
    features = {
        name: np.where(present[name][:, None], x, 0).astype(x.dtype) if name in present else x
        for name, x in data.features.items()
    }
    note = f"{data.protocol.note} Each modality of each item was dropped at {rate:g} (seed {seed})."
    return replace(
        data, features=features, present=present,
        protocol=replace(data.protocol, note=note.strip()),
        resplit=None, read_sha256="",
        over_catalogue=data.over_catalogue and partial(_over_catalogue, data, rate, seed),
        sha256=content_hash(
            data.user_ids, data.item_ids, data.train,
            {"validation": data.validation, "test": data.test}, features, present, data.further),
    )


def _over_catalogue(data: Dataset, rate: float, seed: int, unit: Unit) -> Dataset:
    assert data.over_catalogue is not None
    return drop_features(data.over_catalogue(unit=unit), rate, seed)
