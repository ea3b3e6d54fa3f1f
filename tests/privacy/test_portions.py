"""A budget split between rounds: prices, noise, ledger and audit against the even split."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from privacy import (
    EVEN,
    AdaptiveClip,
    Budget,
    BudgetError,
    ChainError,
    ClipRule,
    Dense,
    DistributedNoise,
    Everyone,
    GaussianNoise,
    JointClip,
    Ledger,
    Mechanism,
    Poisson,
    Portions,
    PrivacyStack,
    Quantise,
    Release,
    RingAggregator,
    Sampling,
    Shares,
    SimulationSource,
    calibrate,
    chain,
    epsilon,
    state,
)
from privacy.accounting import planned
from privacy.audit import AuditPlan, AuditSource, audit_mechanism, synthetic_benign
from privacy.transforms import Step

RELEASE = Release("table", (40, 50))
CLIENTS, DELTA, ROUNDS = 60, 1e-5, 4
UNEVEN = Portions.of([6.0, 1.0, 1.0, 4.0])


def stack(
    portions: Portions, z: float, sampling: Sampling | None = None, budget: Budget | None = None,
    kind: type[PrivacyStack] = PrivacyStack,
) -> PrivacyStack:
    mechanism = chain([JointClip(1.0, {"table": 1.0}), GaussianNoise(z, 1.0)])
    return kind((RELEASE,), Ledger((), budget), sampling=sampling or Everyone(),
                mechanism=mechanism, source=SimulationSource(3), portions=portions)


def played(of: PrivacyStack, round_: int) -> torch.Tensor:
    """The released sum of clients who send nothing."""
    cohort = of.draw(CLIENTS, round_)
    of.admit(cohort, CLIENTS)
    gate = of.open(cohort)
    gate.submit(cohort.ids, {"table": Dense(torch.zeros(len(cohort.ids), 40, 50))})
    return of.finish(gate.close(), cohort, CLIENTS)[0].sums["table"]


# Portions themselves ------------------------------------------------------------------------------


@pytest.mark.parametrize(("weights", "said"), [
    ((1.0, 2.0), "mean of 1"), ((2.0, 0.0), "positive"), ((-1.0, 3.0), "positive"),
    ((math.inf, 1.0), "positive"), ((math.nan, 1.0), "positive")])
def test_portions_that_would_spend_another_budget(weights: tuple[float, ...], said: str) -> None:
    with pytest.raises(ChainError, match=said):
        Portions(weights)


def test_equal_shares_are_an_even_split() -> None:
    assert Portions.of([3.0, 3.0]) == Portions.of([]) == EVEN
    assert EVEN.weight(10**6) == 1.0 and EVEN.multipliers(2.0, 3) == [2.0] * 3
    with pytest.raises(ChainError, match="positive"):
        Portions.of([1.0, -1.0])


@given(st.lists(st.floats(0.05, 20), min_size=1, max_size=8), st.floats(0.5, 8))
def test_any_split_costs_what_the_even_one_does(shares: list[float], target: float) -> None:
    """Gaussian releases of everybody add up in z^-2 (corollary 2 of Dong, Roth and Su)."""
    rounds, portions = len(shares), Portions.of(shares)
    z = calibrate(target, DELTA, rounds, Everyone(), 900)
    split = planned(z, rounds, Everyone(), 900, portions=portions)
    assert epsilon(split, DELTA) == pytest.approx(target, rel=1e-6)
    assert calibrate(target, DELTA, rounds, Everyone(), 900, portions=portions) == pytest.approx(
        z, rel=1e-6)


def test_sampled_and_distributed_splits_are_priced_as_they_are() -> None:
    """There the price is no function of the sum of z^-2 alone, so z itself must follow the
    split."""
    for sampling, shares in ((Poisson(0.2), None), (Everyone(), Shares(800, 50_000, 4096.0))):
        even = calibrate(2.0, DELTA, ROUNDS, sampling, 943, shares=shares)
        z = calibrate(2.0, DELTA, ROUNDS, sampling, 943, shares=shares, portions=UNEVEN)
        spent = epsilon(planned(z, ROUNDS, sampling, 943, shares=shares, portions=UNEVEN), DELTA)
        assert 1.98 < spent <= 2.0
        if sampling.rate < 1:
            careless = planned(even, ROUNDS, sampling, 943, portions=UNEVEN)
            assert epsilon(careless, DELTA) > 2.02 and z > even


def test_a_spare_attempt_is_paid_as_the_dearest_round() -> None:
    multipliers = UNEVEN.multipliers(1.0, ROUNDS + 2)
    assert multipliers[ROUNDS:] == [multipliers[0]] * 2 == [min(multipliers)] * 2


# In the stack -------------------------------------------------------------------------------------


def test_noise_and_ledger_follow_the_portions() -> None:
    """Chi-square tests of 2,000 values each round, false alarm 1e-6 each."""
    z = calibrate(2.0, DELTA, ROUNDS, Everyone(), CLIENTS)
    ours = stack(UNEVEN, z, budget=Budget(2.0, DELTA))
    for round_ in range(ROUNDS):
        noise = played(ours, round_).double().numpy().ravel()
        due = z / math.sqrt(UNEVEN.weights[round_])
        tail = stats.chi2.cdf((noise**2).sum() / due**2, len(noise))
        assert 1e-6 < tail < 1 - 1e-6
        assert ours.ledger.entries[round_].noise_multiplier == pytest.approx(due, rel=1e-3)
    assert ours.ledger.spent(DELTA) == pytest.approx(2.0, rel=1e-3)
    assert UNEVEN.weight(4) == UNEVEN.weight(3)  # in place of a lost one, if the budget has it
    with pytest.raises(BudgetError):
        played(ours, 4)


def test_an_aborted_round_is_charged_its_own_portion() -> None:
    z = calibrate(2.0, DELTA, ROUNDS, Everyone(), CLIENTS)
    ours = stack(UNEVEN, z, budget=Budget(2.0, DELTA))
    ours.abort(ours.draw(CLIENTS, 0), CLIENTS)
    assert ours.ledger.entries[0].noise_multiplier == pytest.approx(
        z / math.sqrt(UNEVEN.weights[0]), rel=1e-3)
    played(ours, 0)
    with pytest.raises(BudgetError):  # which was not budgeted for
        for round_ in range(1, ROUNDS):
            played(ours, round_)


def test_the_statement_names_every_round() -> None:
    z = calibrate(2.0, DELTA, ROUNDS, Everyone(), CLIENTS)
    promise = state(stack(UNEVEN, z), Budget(2.0, DELTA), ROUNDS, CLIENTS, 2000)
    even = state(stack(EVEN, z), Budget(2.0, DELTA), ROUNDS, CLIENTS, 2000)
    assert promise.epsilon == pytest.approx(2.0, rel=1e-3) and even.noise_multipliers == ()
    assert promise.noise_multipliers == pytest.approx(UNEVEN.multipliers(z, ROUNDS))
    assert promise.best_signal_to_noise and even.best_signal_to_noise
    assert promise.best_signal_to_noise / even.best_signal_to_noise == pytest.approx(
        math.sqrt(UNEVEN.weights[0]))
    (line,) = [x for x in promise.lines() if x.startswith("mechanism")]
    assert all(f"{m:.4f}" in line for m in promise.noise_multipliers)


def test_shares_of_noise_in_a_ring_follow_the_portions() -> None:
    """A chi-square test of 2,000 values each round, false alarm 1e-6 each."""
    quantise = Quantise(1 / 256, 2000)
    bound = quantise.limit(1.0) * quantise.step
    steps: list[Step] = [JointClip(1.0, {"table": 1.0}), quantise,
                         DistributedNoise(5.0, bound, CLIENTS)]
    ours = PrivacyStack((RELEASE,), Ledger(), aggregator=RingAggregator(), mechanism=chain(steps),
                        source=SimulationSource(5), portions=UNEVEN)
    for round_ in range(ROUNDS):
        noise = played(ours, round_).double().numpy().ravel()
        due = 5.0 * bound / math.sqrt(UNEVEN.weights[round_])
        tail = stats.chi2.cdf((noise**2).sum() / due**2, len(noise))
        assert 1e-6 < tail < 1 - 1e-6


def test_an_adaptive_clip_takes_an_even_split_alone() -> None:
    mechanism = chain([JointClip(1.0, {"table": 1.0}), GaussianNoise(2.0, 1.0)])
    clipper = AdaptiveClip(ClipRule(1.0, 0.1, 10.0, bit_stddev=20.0))
    with pytest.raises(ChainError, match="evenly"):
        PrivacyStack((RELEASE,), Ledger(), mechanism=mechanism, clipper=clipper, portions=UNEVEN)


# Under attack -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AlwaysTheMost(PrivacyStack):
    """Adds in every round the noise of the largest portion, and charges each its own."""

    def at(self, round_: int) -> Mechanism | None:
        assert self.mechanism is not None
        honest = super().at(round_)
        if honest is None or round_ == 0:
            return honest
        quiet = self.portions.mechanism(self.mechanism, 0).noise.stddev
        return chain([honest.clip, _Less(
            honest.noise.noise_multiplier, honest.noise.sensitivity, less=quiet)])


@dataclass(frozen=True)
class _Less(GaussianNoise):
    """Says one width, and adds another."""

    less: float = 0.0

    def on_sums(self, sums, weights, source, round_):  # type: ignore[no-untyped-def]
        quiet = GaussianNoise(self.less / self.sensitivity, self.sensitivity)
        return quiet.on_sums(sums, weights, source, round_)


@pytest.mark.parametrize("kind", [PrivacyStack, AlwaysTheMost])
def test_an_audit_passes_portions_and_finds_noise_that_ignores_them(
    kind: type[PrivacyStack],
) -> None:
    """An honest stack fails in 5% of the runs; these seeds were drawn once."""
    z = calibrate(2.0, DELTA, ROUNDS, Everyone(), CLIENTS + 400)
    found = audit_mechanism(
        lambda: stack(UNEVEN, z, kind=kind), synthetic_benign(
            (RELEASE,), CLIENTS, SimulationSource(1)),
        AuditPlan(clients=CLIENTS, rounds=ROUNDS, delta=DELTA), AuditSource(1))
    assert found.passed == (kind is PrivacyStack)
    assert found.claimed == pytest.approx(2.0, rel=1e-3)


def test_an_audit_of_portions_is_as_tight_as_of_an_even_split() -> None:
    """A score weighs rounds by what they tell, so the estimate of epsilon is the claim's in both
    (deviation of one about .45, of the mean of 6 about .19; three of these apart)."""
    z = calibrate(2.0, DELTA, ROUNDS, Everyone(), CLIENTS + 400)
    lopsided = Portions.of([30.0, 1.0, 1.0, 1.0])

    def estimate(seed: int) -> float:
        found = audit_mechanism(
            lambda: stack(lopsided, z), synthetic_benign(
                (RELEASE,), CLIENTS, SimulationSource(seed)),
            AuditPlan(clients=CLIENTS, rounds=ROUNDS, delta=DELTA), AuditSource(seed))
        return found.estimate.value if found.estimate else 0.0

    assert np.mean([estimate(seed) for seed in range(6)]) == pytest.approx(2.0, abs=0.57)
