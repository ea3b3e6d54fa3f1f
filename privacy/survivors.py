"""Say how many clients may vanish in a round and, in a simulation, which ones do, and when."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from privacy.aggregator import AFTER_UPLOAD, BEFORE_UPLOAD
from privacy.randomness import SimulationSource
from privacy.sampling import Cohort


@dataclass(frozen=True)
class Survivors:
    """Say how much of a cohort may vanish, and how much of it does in a simulation.

    tolerated: the share of a cohort, in [0, 1), that may vanish before the round is aborted.
    simulated: the share that does vanish in a simulation, at stages drawn from `seed`; 0 for none.
    Raises ValueError for shares outside [0, 1).
    """

    tolerated: float = 0.0
    simulated: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, share in (("tolerated", self.tolerated), ("simulated", self.simulated)):
            if not 0 <= share < 1:
                raise ValueError(f"the {name} share of dropouts must be in [0, 1), got {share}")

    def min_survivors(self, cohort: int) -> int:
        """Return the fewest clients, of a cohort of this size, whose sum may be released."""
        return max(math.ceil((1 - self.tolerated) * cohort - 1e-9), min(cohort, 1))

    def dropouts(self, cohort: Cohort, attempt: int = 0) -> dict[str, frozenset[int]]:
        """Return stage -> clients that vanish there; exactly the simulated share of the cohort.

        attempt: of the round, for every attempt draws anew."""
        count = round(self.simulated * len(cohort.ids))
        if not count:
            return {}
        source, label = SimulationSource(self.seed), cohort.round + (attempt << 32)
        order = np.argsort(source.uniform("dropouts", label, len(cohort.ids)))
        gone = cohort.ids[order[:count]]
        stages = (*BEFORE_UPLOAD, *AFTER_UPLOAD)
        stage = source.uniform("stages", label, count) * len(stages)
        where = np.minimum(stage.astype(np.int64), len(stages) - 1)
        return {name: frozenset(gone[where == place].tolist())
                for place, name in enumerate(stages)}
