"""Choose who takes part in a round, and say what that choice means for a privacy claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from privacy.randomness import Source

ZERO_OUT = "zero-out of one user (the number of users is public)"
REPLACE_ONE = "replacement of one user's whole data"


@dataclass(frozen=True)
class Cohort:
    """Name the clients of one round: ids [cohort] int64, ascending, and the round they serve.

    denominator: the public number that averages are divided by, never the realised count.
    """

    round: int
    ids: np.ndarray
    denominator: float


class Sampling(Protocol):
    """Draw a cohort, and state the adjacency, the rate and the event that the draw implies."""

    @property
    def adjacency(self) -> str:
        """Return the pair of data sets that a guarantee under this sampling compares."""
        ...

    @property
    def rate(self) -> float:
        """Return the probability that a given client takes part in a given round."""
        ...

    @property
    def full(self) -> bool:
        """Tell whether every client takes part in every round, so that seeing who does tells
        nothing."""
        ...

    @property
    def event(self) -> str:
        """Return the name under which the ledger charges a Gaussian release under this sampling."""
        ...

    def draw(self, population: int, round_: int, source: Source) -> Cohort:
        """Draw the cohort of a round; population: how many clients there are. Raises ValueError for
        an empty population."""
        ...


@dataclass(frozen=True)
class Everyone:
    """Draw every client in every round; no amplification is claimed."""

    adjacency: str = ZERO_OUT
    rate: float = 1.0
    event: str = "Gaussian"
    full: ClassVar[bool] = True

    def draw(self, population: int, round_: int, source: Source) -> Cohort:
        """Return all clients 0..population-1. Raises ValueError for an empty population."""
        if population < 1:
            raise ValueError("a cohort needs at least one client")
        return Cohort(round_, np.arange(population, dtype=np.int64), float(population))


@dataclass(frozen=True)
class Poisson:
    """Draw each client by its own coin of probability `rate`: the only sampling that PLD can
    amplify.

    Raises ValueError for a rate outside (0, 1).
    """

    rate: float
    adjacency: str = ZERO_OUT
    event: str = "PoissonSampledGaussian"
    full: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"the Poisson rate must be between 0 and 1, got {self.rate}")

    def draw(self, population: int, round_: int, source: Source) -> Cohort:
        """Draw a cohort of random size, maybe empty."""
        coins = source.uniform("cohort", round_, population) <= self.rate
        return Cohort(round_, np.flatnonzero(coins), population * self.rate)


@dataclass(frozen=True)
class FixedSize:
    """Draw `size` clients without replacement out of `population`.

    Replace-one adjacency: the realised size is public, so a user cannot just be left out. Raises
    ValueError for a size outside [1, population - 1].
    """

    size: int
    population: int
    adjacency: str = REPLACE_ONE
    event: str = "FixedSizeSampledGaussian"
    full: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.size < self.population:
            raise ValueError(f"a fixed cohort must be between 1 and {self.population - 1} clients, "
                             f"got {self.size}")

    @property
    def rate(self) -> float:
        """Return size / population, the probability that a given client takes part."""
        return self.size / self.population

    def draw(self, population: int, round_: int, source: Source) -> Cohort:
        """Draw exactly `size` clients. Raises ValueError for another population than stated."""
        if population != self.population:
            raise ValueError(f"the cohort is planned for {self.population} clients, "
                             f"not {population}")
        order = np.argsort(source.uniform("cohort", round_, population), kind="stable")
        return Cohort(round_, np.sort(order[: self.size]), float(self.size))
