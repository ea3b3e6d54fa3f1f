"""Price several runs on the same users together: each has a ledger, and what they cost adds up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from privacy.accounting import epsilon
from privacy.events import Charged, PricingError


@dataclass(frozen=True)
class Spent:
    """Hold what pricing reads of a ledger entry, of a run that was played or is planned."""

    round: int
    event: str
    noise_multiplier: float | None
    sampling_rate: float
    population: int
    attempt: int = 0
    shares: int | None = None
    dims: int | None = None
    limit: float | None = None
    steps: int = 1

    @classmethod
    def of(cls, entry: Charged, round_: int | None = None) -> Spent:
        """Return what is read of an entry; round_: a round in the place of its own."""
        return cls(entry.round if round_ is None else round_, entry.event, entry.noise_multiplier,
                   entry.sampling_rate, entry.population, entry.attempt, entry.shares, entry.dims,
                   entry.limit, entry.steps)


def composed(runs: Sequence[Iterable[Charged]], delta: float) -> float:
    """Return epsilon at delta of all runs together, of whom one user may be in each.

    It is the price of one ledger with the entries of all. Where no accountant has a bound for such
    a mixture it is the sum of the runs' own prices at equal shares of delta (basic composition,
    Dwork and Roth 2014, theorem 3.16). Entries of different runs are never one cohort.
    """
    held = [list(run) for run in runs]
    entries, start = [], 0
    for run in held:
        rounds = {number: start + place for place, number in enumerate(
            sorted({entry.round for entry in run}))}
        entries += [Spent.of(entry, rounds[entry.round]) for entry in run]
        start += len(rounds)
    try:
        return epsilon(entries, delta)
    except PricingError:
        return sum(epsilon(run, delta / len(held)) for run in held)
