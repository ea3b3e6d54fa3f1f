"""Say what pricing reads of a ledger entry, and what a price needs beside the multiplier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Charged(Protocol):
    """Name what pricing reads of a ledger entry; the fields are those of `Charge` and `Entry`."""

    @property
    def round(self) -> int:
        """Return the number of the round."""

    @property
    def event(self) -> str:
        """Return the name of the event that the release is charged as."""

    @property
    def noise_multiplier(self) -> float | None:
        """Return standard deviation / bound of the noise; None for a release without noise."""

    @property
    def sampling_rate(self) -> float:
        """Return the probability, in (0, 1], that a given client takes part."""

    @property
    def population(self) -> int:
        """Return how many clients the cohort was drawn from."""

    @property
    def attempt(self) -> int:
        """Return how many attempts at the round came before."""

    @property
    def shares(self) -> int | None:
        """Return the honest shares that distributed noise is provisioned for; None for other noise.
        """

    @property
    def dims(self) -> int | None:
        """Return the values of a client's vector where the price needs them, else None."""

    @property
    def limit(self) -> float | None:
        """Return the bound of a client's vector in steps of the grid where the price needs it, else
        None."""

    @property
    def steps(self) -> int:
        """Return how many noisy training steps the release stands for."""



@dataclass(frozen=True)
class Terms:
    """Hold what a price may need beside the noise multiplier; None: it needs none.

    shares: honest shares that the noise is provisioned for. dims: values of a release. limit: bound
    of a client's vector, in steps of the grid.
    """

    shares: int | None = None
    dims: int | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Joint:
    """Count all releases of one cohort as one: z_eff^-2 = sum of z^-2.

    Priced together because they share their coin flips: as separate sampled steps they would be
    under-charged.
    """

    event: str
    noise_multiplier: float
    sampling_rate: float
    population: int
    shares: int | None = None
    dims: int | None = None
    limit: float | None = None
    steps: int = 1
