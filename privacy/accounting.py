"""Prices of Gaussian releases: exact where a closed form exists, PLD or RDP elsewhere.

Closed form: T Gaussian releases with multipliers z_t are one Gaussian mechanism with
mu^2 = sum z_t^-2 (Dong, Roth and Su 2022, corollary 2), and
delta(eps) = Phi(-eps/mu + mu/2) - e^eps Phi(-eps/mu - mu/2) (Balle and Wang 2018, theorem 8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import dp_accounting
import numpy as np
from dp_accounting import pld, rdp
from scipy.optimize import brentq
from scipy.stats import norm

from privacy.discrete import renyi
from privacy.sampling import Everyone, FixedSize, Poisson, Sampling

Accountant = Literal["closed_form", "pld", "rdp", "prv"]
_LARGEST = 1e4
_ORDERS = np.concatenate([np.linspace(1.02, 12, 110), np.arange(12.5, 65, 0.5), 2.0 ** np.arange(
    6.25, 12.1, 0.25)])


class PricingError(ValueError):
    """An event that has no price, or an accountant that does not apply to it."""


class Charged(Protocol):
    """What pricing reads of a ledger entry."""

    @property
    def round(self) -> int: ...
    @property
    def event(self) -> str: ...
    @property
    def noise_multiplier(self) -> float | None: ...
    @property
    def sampling_rate(self) -> float: ...
    @property
    def population(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def shares(self) -> int | None: ...
    @property
    def dims(self) -> int | None: ...
    @property
    def limit(self) -> float | None: ...
    @property
    def steps(self) -> int: ...


@dataclass(frozen=True)
class Joint:
    """All releases of one cohort as one: z_eff^-2 = sum of z^-2.

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


def joint_steps(entries: Iterable[Charged]) -> list[Joint]:
    """One step a cohort. Raises PricingError for unknown events and mixed samplings in a round."""
    rounds: dict[tuple[int, int], list[Charged]] = {}
    for entry in entries:
        if entry.event not in KNOWN:
            raise PricingError(f"no price is known for the event {entry.event!r}")
        if entry.event != "NonPrivate" and not (entry.noise_multiplier or 0) > 0:
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
        event, rate, population, shares, dims, limit = kinds.pop()
        if event == DISTRIBUTED and (len(group) > 1 or not (shares and dims and limit)):
            raise PricingError(f"round {number}: distributed noise is priced as one release, with "
                               "its shares, dims and limit")
        if event == INTERACTION and len(group) == 1:
            steps.append(Joint(event, group[0].noise_multiplier or 0.0, rate, population,
                               steps=group[0].steps))
            continue
        total = sum(_count(e) * (e.noise_multiplier or 0) ** -2
                    for e in group if event != "NonPrivate")
        steps.append(Joint(
            event, total**-0.5 if total else 0.0, rate, population, shares, dims, limit))
    return steps


def _count(entry: Charged) -> int:
    return entry.steps if entry.event == INTERACTION else 1


# Steps of noisy training on each device, which protect one interaction.
INTERACTION = "InteractionGaussian"
_WHOLE = ("Gaussian", "LocalGaussian", INTERACTION)  # at full participation
DISTRIBUTED = "DistributedDiscreteGaussian"  # shares of every device inside a secure sum
KNOWN = (*_WHOLE, "PoissonSampledGaussian", "FixedSizeSampledGaussian", DISTRIBUTED, "NonPrivate")


def gaussian_delta(epsilon: float, mu: float) -> float:
    """delta of a mu-GDP mechanism at epsilon."""
    if mu == 0:
        return 0.0
    # In logarithms: e^eps overflows where the tail beside it underflows.
    second = epsilon + norm.logcdf(-epsilon / mu - mu / 2)
    return float(norm.cdf(-epsilon / mu + mu / 2) - math.exp(second))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Smallest epsilon of a mu-GDP mechanism at delta."""
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(high, mu) > delta:
        high *= 2
        if high > _LARGEST:
            return math.inf
    return float(brentq(lambda e: gaussian_delta(e, mu) - delta, 0.0, high, xtol=1e-12))


def _mu(step: Joint) -> float:
    # A replaced client moves the vector by up to twice the clip norm.
    return (2.0 if step.event == "LocalGaussian" else 1.0) / step.noise_multiplier


def epsilon(
    entries: Iterable[Charged], delta: float, accountant: Accountant | None = None
) -> float:
    """Price of the entries at delta; the tightest sound accountant unless one is named.

    Raises PricingError where the named accountant is no upper bound for an event.
    """
    steps = joint_steps(entries)
    if not steps:
        return 0.0
    if any(step.event == "NonPrivate" for step in steps):
        return math.inf
    return _price(tuple(steps), delta, accountant or best_accountant(steps))


def best_accountant(steps: Sequence[Joint]) -> Accountant:
    """closed_form at full participation, rdp for a fixed size or shares, pld for Poisson."""
    events = {step.event for step in steps}
    if events <= set(_WHOLE):
        return "closed_form"
    return "rdp" if events & {"FixedSizeSampledGaussian", DISTRIBUTED} else "pld"


@lru_cache(maxsize=256)
def _price(steps: tuple[Joint, ...], delta: float, accountant: Accountant) -> float:
    return _ACCOUNTANTS[accountant](steps, delta)


def _closed_form(steps: Sequence[Joint], delta: float) -> float:
    if any(step.event not in _WHOLE for step in steps):
        raise PricingError("the closed form holds at full participation only; use pld or rdp")
    return gaussian_epsilon(math.sqrt(sum(s.steps * _mu(s) ** 2 for s in steps)), delta)


def _runs(steps: Sequence[Joint]) -> list[tuple[Joint, int]]:
    counts: dict[Joint, int] = {}
    for step in steps:
        counts[step] = counts.get(step, 0) + step.steps
    return list(counts.items())


def _event(step: Joint) -> Any:
    gaussian = dp_accounting.GaussianDpEvent(1 / _mu(step))
    if step.event == "PoissonSampledGaussian":
        return dp_accounting.PoissonSampledDpEvent(step.sampling_rate, gaussian)
    return gaussian


def _pld(steps: Sequence[Joint], delta: float) -> float:
    if any(step.event == "FixedSizeSampledGaussian" for step in steps):
        raise PricingError("a cohort of fixed size is not Poisson sampling; PLD would under-charge "
                           "it; use rdp")
    _no_shares(steps, "PLD")
    accountant = pld.PLDAccountant()
    for step, times in _runs(steps):
        accountant.compose(_event(step), times)
    return float(accountant.get_epsilon(delta))


def _no_shares(steps: Sequence[Joint], accountant: str) -> None:
    if any(step.event == DISTRIBUTED for step in steps):
        raise PricingError(f"{accountant} has no event for a sum of discrete Gaussian shares; use "
                           "rdp")


def _distributed(steps: Sequence[Joint], delta: float) -> float:
    """Renyi divergences of the rounds, added up order by order, then converted."""
    curve = np.zeros(len(_ORDERS))
    for step, times in _runs(steps):
        if step.event != DISTRIBUTED:
            raise PricingError("releases with distributed noise cannot be priced with others")
        assert step.shares and step.dims and step.limit
        curve += times * np.array([
            renyi(a, step.noise_multiplier, step.shares, step.dims, step.limit) for a in _ORDERS
        ])
    if not np.isfinite(curve).all():
        return math.inf
    price, _ = rdp.compute_epsilon(_ORDERS, curve, delta)
    return float(price)


def _rdp(steps: Sequence[Joint], delta: float) -> float:
    events = {step.event for step in steps}
    if DISTRIBUTED in events:
        return _distributed(steps, delta)
    fixed = "FixedSizeSampledGaussian" in events
    if fixed and len(events) > 1:
        raise PricingError("cohorts of fixed size cannot be priced with others: adjacencies differ")
    relation = dp_accounting.NeighboringRelation.REPLACE_ONE if fixed else (
        dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant = rdp.RdpAccountant(neighboring_relation=relation)
    for step, times in _runs(steps):
        if fixed:
            # Replacing a member moves the sum by up to two clip norms, which the library leaves
            # to the caller: its Gaussian event takes the multiplier as given.
            event: Any = dp_accounting.SampledWithoutReplacementDpEvent(
                step.population, round(step.sampling_rate * step.population),
                dp_accounting.GaussianDpEvent(step.noise_multiplier / 2))
        else:
            event = _event(step)
        accountant.compose(event, times)
    return float(accountant.get_epsilon(delta))


def _prv(steps: Sequence[Joint], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    if any(step.event == "FixedSizeSampledGaussian" for step in steps):
        raise PricingError("Opacus models Poisson sampling only; use rdp")
    _no_shares(steps, "PRV")
    accountant = PRVAccountant()
    accountant.history = [
        (1 / _mu(step), step.sampling_rate, times) for step, times in _runs(steps)
    ]
    # At a sampling rate of 1 the library takes the logarithm of 0, on purpose.
    with np.errstate(divide="ignore"):
        return float(accountant.get_epsilon(delta))


_ACCOUNTANTS: dict[str, Callable[[Sequence[Joint], float], float]] = {
    "closed_form": _closed_form, "pld": _pld, "rdp": _rdp, "prv": _prv,
}


@dataclass(frozen=True)
class Shares:
    """Of distributed noise: honest shares it is provisioned for, values a release, and the bound of
    a client's vector in steps."""

    count: int
    dims: int
    limit: float


@dataclass(frozen=True)
class _Planned:
    round: int
    event: str
    noise_multiplier: float
    sampling_rate: float
    population: int
    attempt: int = 0
    shares: int | None = None
    dims: int | None = None
    limit: float | None = None
    steps: int = 1


def planned(
    noise_multiplier: float, rounds: int, sampling: Sampling, population: int,
    local: bool = False, shares: Shares | None = None,
) -> list[_Planned]:
    """The entries that `rounds` equal rounds would leave."""
    event = "LocalGaussian" if local else DISTRIBUTED if shares else sampling.event
    of = (shares.count, shares.dims, shares.limit) if shares else (None, None, None)
    return [_Planned(t, event, noise_multiplier, sampling.rate, population, 0, *of)
            for t in range(rounds)]


def calibrate(
    target: float, delta: float, rounds: int, sampling: Sampling, population: int,
    local: bool = False, shares: Shares | None = None,
) -> float:
    """Smallest noise multiplier (std / bound) with epsilon <= target after all rounds.

    Raises PricingError where no multiplier reaches the target.
    """
    if not target > 0 or not 0 < delta < 1:
        raise PricingError(f"epsilon must be positive and delta in (0, 1), got {target}, {delta}")
    if (local or shares) and not isinstance(sampling, Everyone):
        where = "local" if local else "distributed"
        raise PricingError(f"{where} noise is priced at full participation only: the server sees "
                           "who takes part")
    if not isinstance(sampling, Everyone | Poisson | FixedSize):
        raise PricingError(f"no accountant is known for the sampling {type(sampling).__name__}")

    def gap(z: float) -> float:
        return epsilon(planned(z, rounds, sampling, population, local, shares), delta) - target

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
    relative = 1e-8 if isinstance(sampling, Everyone) else 1e-3
    while high / low - 1 > relative:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if gap(middle) <= 0 else (middle, high)
    return high
