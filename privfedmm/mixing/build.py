"""A mixed method from what a run builds its method from."""

from __future__ import annotations

from collections.abc import Callable

import torch

from privfedmm.base.features import select, unit_rows
from privfedmm.federation.types import Algorithm
from privfedmm.methods.entry import Build
from privfedmm.mixing.algorithm import Mixed
from privfedmm.mixing.settings import MixSettings


def mixed(build: Build, make: Callable[[Build], Algorithm], settings: MixSettings) -> Algorithm:
    """Return the method that `make` builds, mixed.

    Raises ValueError where some items are in no training at all.
    """
    data = build.data
    if data.cold is not None:
        raise ValueError("mix.on: cold items have no part of their own to be weighed; set it to "
                         "false, or cold_items to 0")
    chosen = select(data.features, build.modalities)
    unit = {name: torch.from_numpy(unit_rows(x, data.present.get(name)))
            for name, x in sorted(chosen.items())}
    return Mixed(settings, make(build), build.rounds, data.train, data.num_items,
                 data.validation, unit)
