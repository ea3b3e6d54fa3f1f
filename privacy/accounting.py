"""Price Gaussian releases: exactly where a closed form exists, by PLD or RDP elsewhere.

Closed form: T Gaussian releases with multipliers z_t are one Gaussian mechanism with
mu^2 = sum z_t^-2 (Dong, Roth and Su 2022, corollary 2), and
delta(eps) = Phi(-eps/mu + mu/2) - e^eps Phi(-eps/mu - mu/2) (Balle and Wang 2018, theorem 8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from privacy.charged import Charged, Joint, Terms
from privacy.events import (
    DISTRIBUTED,
    INTERACTION,
    Accountant,
    DistributedDiscreteGaussian,
    Event,
    LocalGaussian,
    PricingError,
    event_named,
    events_of,
    is_known,
)
from privacy.library_prices import pld_price, prv_price, rdp_price
from privacy.portions import EVEN, Portions
from privacy.sampling import Sampling

__all__ = [
    "DISTRIBUTED",
    "INTERACTION",
    "Accountant",
    "Joint",
    "PricingError",
    "Shares",
    "best_accountant",
    "calibrate",
    "epsilon",
    "gaussian_delta",
    "gaussian_epsilon",
    "joint_steps",
    "planned",
]
_LARGEST = 1e4
_RESOLVED = 1e-12  # PLD of the library cuts tails of about 1e-15 a step off, to infinity
# From tight to loose; prv is only ever asked by name.
_RANK: tuple[Accountant, ...] = ("closed_form", "pld", "rdp")


def joint_steps(entries: Iterable[Charged]) -> list[Joint]:
    """Combine the entries of a ledger into one step a cohort. Raises PricingError for unknown
    events and for mixed samplings in a round."""
    rounds: dict[tuple[int, int], list[Charged]] = {}
    for entry in entries:
        event = event_named(entry.event)
        if event.private and not (entry.noise_multiplier or 0) > 0:
            raise PricingError(f"round {entry.round} holds a {entry.event} without noise")
        if _count(entry) < 1:
            raise PricingError(f"round {entry.round} holds a {entry.event} of no step")
        rounds.setdefault((entry.round, entry.attempt), []).append(entry)
    steps = []
    for (number, _), group in rounds.items():
        kinds = {(e.event, e.sampling_rate, e.population, e.shares, e.dims, e.limit)
                 for e in group}
        if len(kinds) > 1:
            raise PricingError(f"round {number} mixes {sorted(k[0] for k in kinds)}; "
                               "one cohort has one sampling")
        name, rate, population, shares, dims, limit = kinds.pop()
        event = event_named(name)
        event.check(number, group)
        if event.counts_steps and len(group) == 1:
            steps.append(Joint(name, group[0].noise_multiplier or 0.0, rate, population,
                               shares, dims, limit, steps=group[0].steps))
            continue
        total = sum(_count(e) * (e.noise_multiplier or 0) ** -2 for e in group if event.private)
        steps.append(Joint(
            name, total**-0.5 if total else 0.0, rate, population, shares, dims, limit))
    return steps


def _count(entry: Charged) -> int:
    return entry.steps if event_named(entry.event).counts_steps else 1


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Return delta of a mu-GDP mechanism at epsilon (Balle and Wang 2018, theorem 8)."""
    if mu == 0:
        return 0.0
    # In logarithms: e^eps overflows where the tail beside it underflows.
    second = epsilon + log_ndtr(-epsilon / mu - mu / 2)
    return float(ndtr(-epsilon / mu + mu / 2) - math.exp(second))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the smallest epsilon of a mu-GDP mechanism at delta, the inverse of
    `gaussian_delta`."""
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(high, mu) > delta:
        high *= 2
        if high > _LARGEST:
            return math.inf
    return float(brentq(lambda e: gaussian_delta(e, mu) - delta, 0.0, high, xtol=1e-12))


def epsilon(
    entries: Iterable[Charged], delta: float, accountant: Accountant | None = None
) -> float:
    """Return the price of the entries at delta, by the tightest sound accountant unless one is
    named, and never above what it would be without sampling.

    Raises PricingError where the named accountant is no upper bound for an event.
    """
    steps = joint_steps(entries)
    if not steps:
        return 0.0
    if not all(event.private for event in events_of(steps)):
        return math.inf
    if accountant is not None:
        return _price(tuple(steps), delta, accountant)
    return min(_price(tuple(steps), delta, name) for name in _sound(steps, delta))


def _sound(steps: Sequence[Joint], delta: float) -> list[Accountant | Literal["unsampled"]]:
    """The accountants of which the smallest price is taken.

    Sampling never costs: for whatever coins a round is one of the mechanisms that it would be
    without them, so that its trade-off is nowhere worse. Orders end and grids have a width, so that
    the price with sampling may be the larger one. Below what a grid resolves RDP is asked as well.
    """
    best = best_accountant(steps)
    names: list[Accountant | Literal["unsampled"]] = [best]
    if best == "pld" and delta < _RESOLVED and all("rdp" in e.accountants
                                                   for e in events_of(steps)):
        names.append("rdp")
    if best != "closed_form" and all(e.sampled for e in events_of(steps)):
        names.append("unsampled")
    return names


def best_accountant(steps: Sequence[Joint]) -> Accountant:
    """Choose closed_form at full participation, rdp for a fixed size or shares, pld for Poisson.

    Of a ledger with several events: the tightest that has a bound for all of them. Where none has,
    rdp, which says why.
    """
    events = events_of(steps)
    return next((name for name in _RANK if all(name in e.accountants for e in events)), "rdp")


@lru_cache(maxsize=256)
def _price(
    steps: tuple[Joint, ...], delta: float, accountant: Accountant | Literal["unsampled"]
) -> float:
    events = events_of(steps)
    if accountant == "unsampled":
        return _closed_form(steps, delta)
    for event in events:
        if accountant not in event.accountants:
            raise PricingError(event.refusal(accountant))
    for event in events:
        if event.apart and len(events) > 1:
            raise PricingError(event.apart)
    return _ACCOUNTANTS[accountant](steps, delta)


def _closed_form(steps: Sequence[Joint], delta: float) -> float:
    squared = sum(s.steps * event_named(s.event).mu(s) ** 2 for s in steps)
    return gaussian_epsilon(math.sqrt(squared), delta)


_ACCOUNTANTS: dict[str, Callable[[Sequence[Joint], float], float]] = {
    "closed_form": _closed_form, "pld": pld_price, "rdp": rdp_price, "prv": prv_price,
}


@dataclass(frozen=True)
class Shares:
    """State what distributed noise is provisioned for.

    count: honest shares in a sum. dims: values of a release. limit: bound on the L2 norm of a
    client's vector, in steps.
    """

    count: int
    dims: int
    limit: float

    @property
    def terms(self) -> Terms:
        """Return the shares as the terms that a price asks for."""
        return Terms(self.count, self.dims, self.limit)


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


def planned(
    noise_multiplier: float, rounds: int, sampling: Sampling, population: int,
    local: bool = False, shares: Shares | None = None, *,
    event: Event | None = None, terms: Terms | None = None, portions: Portions = EVEN,
) -> list[Spent]:
    """Return the entries that `rounds` rounds would leave.

    noise_multiplier: of an even split; portions: how the budget is split between the rounds. event,
    terms: of the noise (`Noise.event`, `Noise.terms`); None: those of Gaussian noise, which `local`
    and `shares` place.
    """
    event = event or _gaussian(sampling, local, shares)
    terms = terms or (shares.terms if shares else Terms())
    return [Spent(t, event.name, multiplier, sampling.rate, population, 0,
                  terms.shares, terms.dims, terms.limit)
            for t, multiplier in enumerate(portions.multipliers(noise_multiplier, rounds))]


def _gaussian(sampling: Sampling, local: bool, shares: Shares | None) -> Event:
    name = LocalGaussian.name if local else (
        DistributedDiscreteGaussian.name if shares else sampling.event)
    return event_named(name)


def calibrate(
    target: float, delta: float, rounds: int, sampling: Sampling, population: int,
    local: bool = False, shares: Shares | None = None, *,
    event: Event | None = None, terms: Terms | None = None, portions: Portions = EVEN,
) -> float:
    """Find the smallest noise multiplier (std / bound) with epsilon <= target after all rounds.

    It is that of an even split; event, terms, portions: as of `planned`. Raises PricingError where
    no multiplier reaches the target.
    """
    if not target > 0 or not 0 < delta < 1:
        raise PricingError(f"epsilon must be positive and delta in (0, 1), got {target}, {delta}")
    if not is_known(sampling.event):
        raise PricingError(f"no accountant is known for the sampling {type(sampling).__name__}")
    event = event or _gaussian(sampling, local, shares)
    if event.unsampled and sampling.rate < 1:
        raise PricingError(f"{event.unsampled} noise is priced at full participation only: the "
                           "server sees who takes part")

    def gap(z: float) -> float:
        steps = planned(z, rounds, sampling, population, local, shares, event=event, terms=terms,
                        portions=portions)
        return epsilon(steps, delta) - target

    low = high = 1.0
    while gap(high) > 0:
        low, high = high, high * 2
        if high > 1e6:
            raise PricingError(f"no noise reaches epsilon {target} at delta {delta}")
    while low == high or gap(low) <= 0:
        low /= 2
        if low < 1e-3:
            return high
    # Where a price takes a convolution, a thousandth of the noise is precise enough.
    relative = 1e-8 if sampling.rate == 1 else 1e-3
    while high / low - 1 > relative:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if gap(middle) <= 0 else (middle, high)
    reached = gap(high) + target
    if reached < target / 2 and target <= _LARGEST:  # beyond it no epsilon is told from infinity
        raise PricingError(
            f"no noise gives an epsilon near {target:g} at delta {delta:g}: of the accountants for "
            f"{event.what} the price jumps, and the next that is below costs {reached:.3g}")
    return high
