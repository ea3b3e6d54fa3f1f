"""Who takes part in a round, and what that choice means for a privacy claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Cohort:
    """The clients of one round: ids [cohort] int64, ascending, and the round they serve."""

    round: int
    ids: np.ndarray


class Sampling(Protocol):
    """Draws a cohort, and states the adjacency and the sampling rate that the draw implies."""

    @property
    def adjacency(self) -> str:
        """The pair of data sets that a guarantee under this sampling compares."""
        ...

    @property
    def rate(self) -> float:
        """Probability that a given client takes part in a given round."""
        ...

    def draw(self, population: int, round_: int) -> Cohort:
        """The cohort of a round."""
        ...


@dataclass(frozen=True)
class Everyone:
    """Full participation: every client, every round; no amplification is claimed."""

    adjacency: str = "zero-out of one user (the number of users is public)"
    rate: float = 1.0

    def draw(self, population: int, round_: int) -> Cohort:
        """All clients 0..population-1. Raises ValueError for an empty population."""
        if population < 1:
            raise ValueError("a cohort needs at least one client")
        return Cohort(round_, np.arange(population, dtype=np.int64))
