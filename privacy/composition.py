"""Price several runs on the same users together: each has a ledger, and what they cost adds up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from privacy.accounting import Spent, epsilon
from privacy.charged import Charged
from privacy.events import PricingError


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
