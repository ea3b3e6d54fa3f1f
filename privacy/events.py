"""Define the events that a ledger charges: each one a type with its price, described once.

An event says what a release is to an accountant: how far one unit of protection moves it, which
accountants have an upper bound for it, and what it may be composed with. `register_event` adds one;
its name is what the ledger holds, so a name never changes and never gets a second meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from privacy.discrete_price import renyi
from privacy.sampling import REPLACE_ONE, ZERO_OUT

Accountant = Literal["closed_form", "pld", "rdp", "prv"]
_LIBRARIES = {"pld": "PLD", "prv": "PRV", "rdp": "RDP"}


class PricingError(ValueError):
    """Report an event that has no price, or an accountant that does not apply to it."""


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


class Event:
    """Describe a kind of release, and its price.

    name: what the ledger calls it. accountants: those with an upper bound for it, the tightest
    first. factor: bounds by which one unit of protection may move the vector: 1 where a unit is
    left out, 2 where it is replaced. private: whether anything bounds what it tells. combines:
    whether several of one round are one Gaussian release with z^-2 = sum of z^-2; elsewhere a round
    holds one. counts_steps: whether one charge may stand for several steps. adjacency: what it
    compares, where the sampling does not decide. unsampled: word for its noise where no sampling
    amplifies it. replace_one: whether its library event is one of the replace-one relation.
    sampled: whether it is a Gaussian mechanism of `mu` but for a sampling that only helps. apart:
    why it cannot be priced with other events; empty where it can. what: what it is a release of, in
    words. scores_are_normal: whether the score of a canary under it is a normal number, which the
    audit's sharper bounds assume.
    """

    name: str
    accountants: tuple[Accountant, ...]
    what: str
    factor: float = 1.0
    private: bool = True
    combines: bool = True
    counts_steps: bool = False
    adjacency: str | None = None
    unsampled: str = ""
    replace_one: bool = False
    sampled: bool = False
    apart: str = ""
    scores_are_normal: bool = False

    def check(self, number: int, group: Sequence[Charged]) -> None:
        """Check that the releases of round `number` can be priced as this. Raises PricingError
        where they cannot."""
        if len(group) > 1 and not self.combines:
            raise PricingError(f"round {number}: {self.what} is priced as one release a round")

    def refusal(self, accountant: Accountant) -> str:
        """Say why an accountant that is not among `accountants` does not apply."""
        if accountant == "closed_form":
            return "the closed form holds at full participation only; use pld or rdp"
        best = self.accountants[0] if self.accountants else "none"
        return f"{_LIBRARIES[accountant]} has no event for {self.what}; use {best}"

    def mu(self, step: Joint) -> float:
        """Return mu of the Gaussian-DP mechanism that a step is before sampling: factor /
        multiplier.

        Asked by `closed_form` and `prv`. Raises PricingError for a release that is none.
        """
        raise PricingError(f"{self.what} is no Gaussian mechanism")

    def library_event(self, step: Joint) -> Any:
        """Return the step as an event of dp_accounting; asked by `pld` and, without a curve, by
        `rdp`.

        Raises PricingError where the library has none.
        """
        raise PricingError(f"{self.what} has no event in dp_accounting")

    def curve(self, step: Joint, orders: np.ndarray) -> np.ndarray | None:
        """Return the Renyi divergence of a step at each order [orders]; None: `library_event` has
        it."""
        return None


class _GaussianEvent(Event):
    """A Gaussian release at full participation: one mechanism that is mu-GDP."""

    scores_are_normal = True

    accountants: tuple[Accountant, ...] = ("closed_form", "pld", "rdp", "prv")

    def mu(self, step: Joint) -> float:
        return self.factor / step.noise_multiplier

    def library_event(self, step: Joint) -> Any:
        from dp_accounting import GaussianDpEvent  # late: it takes a second

        return GaussianDpEvent(1 / self.mu(step))


class Gaussian(_GaussianEvent):
    """Price noise on a sum over everyone (Balle and Wang 2018, theorem 8)."""

    name = "Gaussian"
    what = "a Gaussian release"


class LocalGaussian(_GaussianEvent):
    """Price noise on each client's own vector: a replaced client moves it by up to twice its
    bound."""

    name = "LocalGaussian"
    what = "local Gaussian noise"
    factor = 2.0
    adjacency = REPLACE_ONE
    unsampled = "local"


class InteractionGaussian(_GaussianEvent):
    """Price noisy training steps on each device, which protect one interaction (Abadi et al.
    2016)."""

    name = "InteractionGaussian"
    what = "a step of noisy training"
    counts_steps = True


class PoissonSampledGaussian(_GaussianEvent):
    """Price noise on a sum over clients that each came by its own coin; amplified by the
    sampling."""

    scores_are_normal = False  # a mixture: some rounds leave the canary out
    sampled = True
    name = "PoissonSampledGaussian"
    what = "a Poisson-sampled Gaussian release"
    accountants = ("pld", "rdp", "prv")

    def library_event(self, step: Joint) -> Any:
        """Return the Gaussian event under Poisson sampling at the step's rate."""
        from dp_accounting import PoissonSampledDpEvent

        return PoissonSampledDpEvent(
            step.sampling_rate, super().library_event(step))


class FixedSizeSampledGaussian(Event):
    """Price noise on a sum over a cohort of fixed size (Wang, Balle and Kasiviswanathan 2019).

    The library has no order above 256 for it, so that no amplification is known below an epsilon of
    about log(1 / delta) / 255; what remains there is the price without sampling.
    """

    name = "FixedSizeSampledGaussian"
    what = "a Gaussian release of a cohort of fixed size"
    accountants = ("rdp",)
    factor = 2.0
    adjacency = REPLACE_ONE
    replace_one = True
    sampled = True
    apart = "cohorts of fixed size cannot be priced with others: adjacencies differ"

    def refusal(self, accountant: Accountant) -> str:
        """Say why an accountant other than `rdp` does not apply to a cohort of fixed size."""
        if accountant == "pld":
            return ("a cohort of fixed size is not Poisson sampling; PLD would under-charge it; "
                    "use rdp")
        if accountant == "prv":
            return "Opacus models Poisson sampling only; use rdp"
        return super().refusal(accountant)

    def mu(self, step: Joint) -> float:
        return self.factor / step.noise_multiplier

    def library_event(self, step: Joint) -> Any:
        """Return the Gaussian event sampled without replacement, for a member that is replaced."""
        from dp_accounting import GaussianDpEvent, SampledWithoutReplacementDpEvent

        # Replacing a member moves the sum by up to two clip norms, which the library leaves to
        # the caller: its Gaussian event takes the multiplier as given.
        return SampledWithoutReplacementDpEvent(
            step.population, round(step.sampling_rate * step.population),
            GaussianDpEvent(step.noise_multiplier / self.factor))


class DistributedDiscreteGaussian(Event):
    """Price shares of every device inside a secure sum (Kairouz, Liu and Steinke 2021)."""

    scores_are_normal = True
    name = "DistributedDiscreteGaussian"
    what = "a sum of discrete Gaussian shares"
    accountants = ("rdp",)
    combines = False
    # Whoever draws the cohort, the price is that of a client whose vector is left out of the sum.
    adjacency = ZERO_OUT
    unsampled = "distributed"
    apart = "releases with distributed noise cannot be priced with others"

    def check(self, number: int, group: Sequence[Charged]) -> None:
        """Check that the round is one release with its shares, dims and limit.

        Raises PricingError where it is not.
        """
        first = group[0]
        if len(group) > 1 or not (first.shares and first.dims and first.limit):
            raise PricingError(f"round {number}: distributed noise is priced as one release, with "
                               "its shares, dims and limit")

    def curve(self, step: Joint, orders: np.ndarray) -> np.ndarray | None:
        """Return the Renyi divergence of a sum of discrete Gaussian shares at each order [orders].
        """
        assert step.shares and step.dims and step.limit
        return np.array([renyi(a, step.noise_multiplier, step.shares, step.dims, step.limit)
                         for a in orders])


class NonPrivate(Event):
    """Price a release of which nothing bounds what it tells: infinity."""

    name = "NonPrivate"
    what = "a release without noise"
    accountants = ("pld",)
    private = False


_EVENTS: dict[str, Event] = {}
_LOADERS: list[Callable[[], object]] = []  # who may register more, in the order of their asking


def register_event(event: Event) -> Event:
    """Make an event known to every ledger and accountant, and hand it back.

    Raises ValueError for a name that is taken: what a ledger says has one meaning.
    """
    if event.name in _EVENTS:
        raise ValueError(f"an event is called {event.name!r} already")
    _EVENTS[event.name] = event
    return event


def load_events_by(load: Callable[[], object]) -> None:
    """Have `load` called whenever a name is not known: it imports what may register its event.

    A ledger is read by processes that have not loaded the noise that it tells of.
    """
    _LOADERS.append(load)


def is_known(name: str) -> bool:
    """Tell whether an event of that name has a price."""
    if name not in _EVENTS:
        for load in _LOADERS:
            load()
    return name in _EVENTS


def event_named(name: str) -> Event:
    """Return the event that a ledger calls `name`. Raises PricingError for an unknown one."""
    if not is_known(name):
        raise PricingError(f"no price is known for the event {name!r}")
    return _EVENTS[name]


def events_of(steps: Iterable[Joint]) -> list[Event]:
    """Return the different events of steps, in the order in which they first occur."""
    return [event_named(name) for name in dict.fromkeys(step.event for step in steps)]


for _event in (Gaussian(), LocalGaussian(), InteractionGaussian(), PoissonSampledGaussian(),
               FixedSizeSampledGaussian(), DistributedDiscreteGaussian(), NonPrivate()):
    register_event(_event)

INTERACTION = InteractionGaussian.name
DISTRIBUTED = DistributedDiscreteGaussian.name
NON_PRIVATE = NonPrivate.name
