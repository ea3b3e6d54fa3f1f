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
    """Return the method that `make` builds, mixed."""
    data = build.data
    chosen = select(data.features, build.modalities)
    unit = {name: torch.from_numpy(unit_rows(x, data.present.get(name)))
            for name, x in sorted(chosen.items())}
    return Mixed(settings, make(build), build.rounds, data.train, data.num_items,
                 data.validation, unit, data.cold)
