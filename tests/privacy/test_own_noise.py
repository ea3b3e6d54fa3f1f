"""A noise and an event that no file of the package knows, from the chain to the statement."""

from __future__ import annotations

import math
from dataclasses import replace

import dp_accounting
import numpy as np
import pytest
import torch
from dp_accounting import pld
from privfedmm_example.laplace import LAPLACE, CentralLaplace
from scipy import stats
from torch import Tensor

from privacy import (
    AdaptiveClip,
    Budget,
    BudgetError,
    ChainError,
    ClipRule,
    Dense,
    DistributedNoise,
    Everyone,
    GaussianNoise,
    Joint,
    JointClip,
    Ledger,
    LedgerError,
    Poisson,
    PricingError,
    PrivacyStack,
    Quantise,
    Release,
    RingAggregator,
    SimulationSource,
    Terms,
    calibrate,
    chain,
    epsilon,
    event_named,
    noise_entry,
    register_event,
    register_noise,
    state,
)
from privacy.accounting import Accountant, planned
from privacy.audit.sabotage import sabotage
from privacy.noise import Noise
from privacy.places import Place

CLIENTS, DIMS, DELTA = 12, 4, 1e-5
WEIGHTS = {"a": 1.0, "b": 0.5}
RELEASES = (Release("a", (3,)), Release("b", (1,)))
TERMS = Terms(dims=DIMS)


def multiplier(rounds: int, target: float = 2.0) -> float:
    return calibrate(target, DELTA, rounds, Everyone(), CLIENTS,
                     event=LAPLACE.event("central", Everyone(), None), terms=TERMS)


def price(z: float, rounds: int, dims: int) -> float:
    return epsilon(planned(z, rounds, Everyone(), CLIENTS, event=event_named("CentralLaplace"),
                           terms=Terms(dims=dims)), DELTA)


def stack(
    rounds: int, budget: Budget, secure: bool = False, z: float | None = None
) -> PrivacyStack:
    noise = noise_entry("laplace")
    clip = JointClip(1.0, WEIGHTS)
    z = multiplier(rounds) if z is None else z
    if not secure:
        return PrivacyStack(RELEASES, Ledger((), budget), source=SimulationSource(1),
                            mechanism=chain([clip, noise.build("central", z, 1.0, None)]))
    grid = Quantise(2.0**-16, DIMS)
    bound = grid.limit(1.0) * grid.step
    mechanism = chain([clip, grid, noise.build("central", z, bound, None)])
    return PrivacyStack(RELEASES, Ledger((), budget), source=SimulationSource(1),
                        aggregator=RingAggregator(), mechanism=mechanism)


def play(of: PrivacyStack, round_: int) -> dict[str, Tensor]:
    cohort = of.draw(CLIENTS, round_)
    of.admit(cohort, CLIENTS)
    gate = of.open(cohort)
    gate.submit(cohort.ids, {"a": Dense(torch.zeros(CLIENTS, 3)),
                             "b": Dense(torch.zeros(CLIENTS, 1))})
    totals, _ = of.finish(gate.close(), cohort, CLIENTS)
    return dict(totals.sums)


@pytest.mark.parametrize("secure", [False, True])
def test_it_runs_from_the_chain_to_the_statement(secure: bool) -> None:
    budget, rounds = Budget(2.0, DELTA), 5
    ours = stack(rounds, budget, secure)
    for round_ in range(rounds):
        play(ours, round_)
    assert ours.mechanism is not None
    bound = ours.mechanism.bound.l2
    assert [(e.event, e.dims, e.shares) for e in ours.ledger.entries] == [
        ("CentralLaplace", DIMS, None)] * rounds
    assert ours.ledger.entries[0].noise_multiplier == pytest.approx(
        ours.mechanism.noise.stddev / bound)
    assert 1.9 < ours.ledger.spent(DELTA) <= 2.0 + 1e-6
    with pytest.raises(BudgetError, match="more than the budget"):
        play(ours, rounds)
    said = state(ours, budget, rounds, CLIENTS, DIMS)
    assert said.epsilon == pytest.approx(ours.ledger.spent(DELTA))
    assert said.epsilon_vs_server is None and "Laplace noise" in said.reason
    assert any("5 Laplace releases" in line for line in said.lines())
    again = Ledger.from_json(ours.ledger.to_json())
    assert again.spent(DELTA) == ours.ledger.spent(DELTA)


@pytest.mark.parametrize("secure", [False, True])
def test_its_noise_is_laplace_of_the_stated_width(secure: bool) -> None:
    """2,000 sums of zeros, four values each. False alarm of each Kolmogorov test: 1e-4."""
    ours = stack(2000, Budget(1e9, DELTA), secure, z=3.0)
    assert ours.mechanism is not None
    rounds = [ours.mechanism.on_sum(
        {"a": torch.zeros(3, dtype=torch.int64 if secure else torch.float32),
         "b": torch.zeros(1, dtype=torch.int64 if secure else torch.float32)},
        ours.source, t) for t in range(2000)]
    for name, weight in WEIGHTS.items():
        drawn = np.concatenate([r[name].numpy() for r in rounds])
        scale = ours.mechanism.noise.stddev / math.sqrt(2) / weight
        assert stats.kstest(drawn, stats.laplace(scale=scale).cdf).pvalue > 1e-4
        assert ours.mechanism.noise_on_sums(CLIENTS)[name] == pytest.approx(scale * math.sqrt(2))


def test_no_pair_of_neighbours_is_told_apart_by_more_than_the_price_of_a_round() -> None:
    """The log ratio of densities over 500 clipped vectors and 200 outcomes each, one client left
    out: at most sqrt(2 d) / z, and close to it for the vector with equal values."""
    rng, z, dims = np.random.default_rng(0), 3.0, 16
    scale = z / math.sqrt(2)
    one = CentralLaplace().pure(Joint("CentralLaplace", z, 1.0, CLIENTS, dims=dims))
    directions = rng.normal(size=(500, dims))
    directions *= rng.choice([0.0, 1.0], size=(500, dims), p=(0.3, 0.7))
    directions[0] = 1.0
    moved = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    outcomes = rng.laplace(scale=scale, size=(200, dims)) - 20.0
    outcomes = np.concatenate([outcomes, rng.laplace(scale=scale, size=(200, dims))])
    ratio = (np.abs(outcomes[None] - moved[:, None]) - np.abs(outcomes[None])).sum(2) / scale
    assert np.abs(ratio).max() <= one * (1 + 1e-12)
    assert np.abs(ratio[0]).max() == pytest.approx(one)


@pytest.mark.parametrize("rounds", [1, 3, 10, 40])
@pytest.mark.parametrize("one", [0.02, 0.2, 1.0])
def test_its_price_is_an_upper_bound_of_two_exact_ones(rounds: int, one: float) -> None:
    """Against the privacy loss distributions of dp_accounting: of one-dimensional Laplace noise,
    and of randomised response, which is the worst there is at that epsilon."""
    ours = price(math.sqrt(2) / one, rounds, 1)
    laplace = pld.PLDAccountant()
    laplace.compose(dp_accounting.LaplaceDpEvent(1 / one), rounds)
    worst = pld.privacy_loss_distribution.from_randomized_response(
        2 / (1 + math.exp(one)), 2).self_compose(rounds)
    assert laplace.get_epsilon(DELTA) <= worst.get_epsilon_for_delta(DELTA) + 1e-3
    assert worst.get_epsilon_for_delta(DELTA) <= ours + 1e-3


def test_more_values_cost_more_and_calibration_pays_for_them() -> None:
    assert price(20.0, 5, 4) < price(20.0, 5, 16) < price(10.0, 5, 16)
    assert price(20.0, 5, 16) == pytest.approx(price(10.0, 5, 4))
    z = multiplier(5)
    assert price(z, 5, DIMS) <= 2.0 < price(z * (1 - 1e-6), 5, DIMS)


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(PricingError, match="full participation"):
        calibrate(2.0, DELTA, 5, Poisson(0.5), CLIENTS, event=CentralLaplace(), terms=TERMS)
    with pytest.raises(PricingError, match="by its dims"):
        calibrate(2.0, DELTA, 5, Everyone(), CLIENTS, event=CentralLaplace(), terms=Terms())
    with pytest.raises(ChainError, match="not known at place local; there is central"):
        LAPLACE.build("local", 1.0, 1.0, None)
    entries = planned(9.0, 2, Everyone(), CLIENTS, event=CentralLaplace(), terms=TERMS)
    accountants: tuple[Accountant, ...] = ("closed_form", "pld", "prv")
    for name in accountants:
        with pytest.raises(PricingError, match="use"):
            epsilon(entries, DELTA, name)
    with pytest.raises(PricingError, match="one release a round"):
        epsilon([*entries, entries[0]], DELTA)
    other = [replace(e, round=9) for e in planned(9.0, 1, Everyone(), CLIENTS)]
    with pytest.raises(PricingError, match="curves of their own"):
        epsilon([*entries, *other], DELTA)
    moving = AdaptiveClip(ClipRule(1.0, 0.1, 10.0, bit_stddev=5.0))
    with pytest.raises(ChainError, match="Laplace noise does not combine"):
        replace(stack(5, Budget(2.0, DELTA)), clipper=moving)
    charge = replace(stack(5, Budget(2.0, DELTA))._charges(Everyone().draw(
        CLIENTS, 0, SimulationSource(0)), CLIENTS)[0], event="SomebodysLaplace")
    with pytest.raises(LedgerError, match="no price is known for the event 'SomebodysLaplace'"):
        Ledger().charge(charge)


def test_a_sabotage_weakens_it_and_leaves_its_claim() -> None:
    """Noise of half the width at the same price; the two draws come from the same stream."""
    whole = stack(5, Budget(2.0, DELTA))
    half, none = sabotage(whole, "noise_half"), sabotage(whole, "noise_off")
    assert whole.mechanism and half.mechanism and none.mechanism
    zero = {"a": torch.zeros(3), "b": torch.zeros(1)}
    drawn = whole.mechanism.on_sum(zero, whole.source, 0)["a"]
    assert torch.allclose(half.mechanism.on_sum(zero, half.source, 0)["a"], drawn / 2)
    assert not none.mechanism.on_sum(zero, none.source, 0)["a"].any() and drawn.all()
    assert half.mechanism.noise.stddev == whole.mechanism.noise.stddev
    assert half.mechanism.noise.event(Everyone()) is whole.mechanism.noise.event(Everyone())


def test_names_are_given_once_and_unknown_ones_are_listed() -> None:
    with pytest.raises(ValueError, match="called 'CentralLaplace' already"):
        register_event(CentralLaplace())
    with pytest.raises(ValueError, match="called 'laplace' already"):
        register_noise(LAPLACE)
    with pytest.raises(ValueError, match="there are gaussian, laplace"):
        noise_entry("skellam")
    with pytest.raises(PricingError, match="no price is known for the event 'Skellam'"):
        event_named("Skellam")


def test_gaussian_noise_is_known_at_every_place() -> None:
    gaussian = noise_entry("gaussian")
    built: list[Noise] = [gaussian.build("central", 2.0, 1.5, None),
                          gaussian.build("local", 2.0, 1.5, None),
                          gaussian.build("distributed", 2.0, 1.5, 7)]
    assert built == [GaussianNoise(2.0, 1.5), GaussianNoise(2.0, 1.5, Place.LOCAL),
                     DistributedNoise(2.0, 1.5, 7)]
    assert [noise.event(Everyone()).name for noise in built] == [
        "Gaussian", "LocalGaussian", "DistributedDiscreteGaussian"]
    assert gaussian.event("central", Poisson(0.5), None).name == "PoissonSampledGaussian"
    assert [noise.stddev_on_sum(28) for noise in built] == pytest.approx(
        [3.0, 3.0 * math.sqrt(28), 6.0])
    assert [noise.against_server for noise in built] == [False, True, True]
    with pytest.raises(ChainError, match="honest shares"):
        gaussian.build("distributed", 2.0, 1.5, None)
