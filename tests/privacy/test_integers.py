"""Integers on a grid: conditional rounding, capacity, discrete Gaussian shares, ring sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privacy import (
    CapacityError,
    ChainError,
    Cohort,
    Dense,
    DistributedNoise,
    GaussianNoise,
    JointClip,
    Ledger,
    Mechanism,
    PlainAggregator,
    PrivacyStack,
    Quantise,
    Release,
    RingAggregator,
    RoundAborted,
    RoutedAggregator,
    SimulationSource,
    Slotted,
    Survivors,
    SystemSource,
    Touched,
    chain,
)
from privacy.discrete import sample, thresholds
from privacy.quantise import check_capacity, most_levels
from privacy.uploads import Part

WEIGHTS = {"a": 0.5, "b": 2.0, "c": 1.0}
RELEASES = (Release("a", (3,)), Release("b", (6, 2)), Release("c", (4, 2), statistic=True))
DIMS = 3 + 12 + 8
SOURCE = SimulationSource(3)


def uploads(clients: int, seed: int, scale: float = 1.0) -> dict[str, Part]:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(0, scale, shape).astype(np.float32))

    index = np.stack([rng.choice(6, 4, replace=False) for _ in range(clients)])
    mask = torch.ones(clients, 4)
    return {
        "a": Dense(normal(clients, 3)),
        "b": Touched(torch.from_numpy(index), normal(clients, 4, 2), mask, 6),
        "c": Slotted(torch.from_numpy(rng.integers(0, 4, clients)), Dense(normal(clients, 2)), 4),
    }


def grid_chain(levels: int, multiplier: float = 0.0, clip: float = 2.0) -> Mechanism:
    quantise = Quantise(clip / levels, DIMS)
    sensitivity = quantise.limit(clip) * quantise.step
    return chain([JointClip(clip, WEIGHTS), quantise, GaussianNoise(multiplier, sensitivity)])


def joint(parts: dict[str, Part]) -> torch.Tensor:
    return torch.cat([parts[n].dense().flatten(1).double() * (
        WEIGHTS[n] if parts[n].dense().is_floating_point() else 1) for n in WEIGHTS], dim=1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 500), st.sampled_from([16, 64, 1000, 2**18]), st.floats(0.01, 30))
def test_rounded_vectors_are_integers_within_their_bound(
    seed: int, levels: int, scale: float
) -> None:
    mechanism = grid_chain(levels)
    parts = dict(mechanism.on_clients(uploads(5, seed, scale), np.arange(5), SOURCE, 0).uploads)
    assert all(part.held().dtype == torch.int32 for part in parts.values())
    assert bool((joint(parts).norm(dim=1) <= mechanism.limit + 1e-9).all())


def test_rounding_is_unbiased_and_moves_a_value_by_less_than_a_step() -> None:
    """Mean over 4,000 roundings within 5 standard errors (false alarm below 1e-5 for 23 values)."""
    clip, parts = 2.0, {n: p.scaled(torch.full((1,), 0.05)) for n, p in uploads(1, 0).items()}
    quantise = Quantise(clip / 32, DIMS)
    exact = joint(dict(parts)) / quantise.step
    drawn = torch.cat([
        joint(quantise.apply(parts, WEIGHTS, clip, np.arange(1), SOURCE, t)) for t in range(4000)])
    assert bool(((drawn - exact).abs() < 1).all())
    error = (drawn.mean(0) - exact[0]).abs() / (drawn.std(0) / math.sqrt(4000)).clamp(min=1e-9)
    assert float(error[drawn.std(0) > 0].max()) < 5
    assert bool((drawn[:, exact[0] == 0] == 0).all())


def test_a_client_is_rounded_alike_in_any_block() -> None:
    mechanism = grid_chain(64)
    whole = uploads(6, 1)
    together = mechanism.on_clients(whole, np.arange(6), SOURCE, 4).uploads
    where = torch.tensor([5, 2])
    alone = mechanism.on_clients(
        {n: p.rows(where) for n, p in whole.items()}, where.numpy(), SOURCE, 4).uploads
    for name, part in alone.items():
        assert torch.equal(part.dense(), together[name].dense()[where])


def test_an_unclipped_vector_is_not_rounded_within_a_bound_it_cannot_meet() -> None:
    with pytest.raises(ChainError, match="was the upload clipped"):
        Quantise(0.01, DIMS).apply(uploads(2, 0, 100.0), WEIGHTS, 1.0, np.arange(2), SOURCE, 0)


def test_capacity_is_refused_one_client_beyond_what_fits() -> None:
    limit, stddev = 2.0**20, 1000.0
    most = int((2**31 - 12 * stddev) / limit)
    check_capacity(most - 1, limit, stddev)
    with pytest.raises(CapacityError, match=f"at this resolution {most} clients fit"):
        check_capacity(most + 1, limit, stddev)
    for clients in (1, 2, 943, 6040, 100_000):
        check_capacity(clients, most_levels(clients) * 1.5, 0)


@pytest.mark.parametrize("stddev", [0.5, 1.0, 5.0, 50.0])
def test_samples_follow_the_discrete_gaussian(stddev: float) -> None:
    """Chi-square against the exact mass; false alarm 1e-7 a case."""
    drawn = sample(stddev, SystemSource().raw("test", 0, 8 * 200_000))
    support = np.arange(-len(thresholds(stddev)) // 2, len(thresholds(stddev)) // 2 + 2)
    mass = np.exp(-(support.astype(float) ** 2) / (2 * stddev**2))
    expected = mass / mass.sum() * len(drawn)
    seen = np.array([(drawn == k).sum() for k in support])
    big = expected >= 10
    chi, degrees = ((seen - expected)[big] ** 2 / expected[big]).sum(), int(big.sum()) - 1
    assert stats.chi2.sf(chi, degrees) > 1e-7
    assert (seen[~big].sum() <= expected[~big].sum() + 5 * math.sqrt(expected[~big].sum() + 1) + 5)


def test_samples_agree_with_an_independent_table() -> None:
    """Thresholds at 64 bits against scipy's double precision, which knows 53 of them."""
    table = thresholds(3.0)
    support = np.arange(-(len(table) // 2), len(table) // 2 + 1, dtype=float)
    mass = np.exp(-(support**2) / 18)
    cumulative = np.cumsum(mass / mass.sum())[:-1]
    np.testing.assert_allclose(table.astype(float) / 2.0**64, cumulative, atol=1e-14)


def test_a_standard_deviation_without_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="not tabled"):
        thresholds(1e6)


def distributed(levels: int, multiplier: float, shares: int) -> Mechanism:
    quantise = Quantise(2.0 / levels, DIMS)
    sensitivity = quantise.limit(2.0) * quantise.step
    return chain([JointClip(2.0, WEIGHTS), quantise,
                  DistributedNoise(multiplier, sensitivity, shares)])


def test_shares_add_up_to_the_promised_noise() -> None:
    """Variance of the sum of exactly `shares` clients of zero. False alarms: 4e-8."""
    mechanism, shares, rounds = distributed(512, 2.0, 20), 20, 400
    zero = {"a": Dense(torch.zeros(shares, 3)), "b": Dense(torch.zeros(shares, 6, 2)),
            "c": Dense(torch.zeros(shares, 4, 2))}
    sums = torch.stack([
        joint(dict(mechanism.on_clients(zero, np.arange(shares), SystemSource(), t).uploads)).sum(0)
        for t in range(rounds)])
    count = sums.numel()
    promised = (mechanism.noise.stddev / mechanism.bound.grid) ** 2
    low, high = stats.chi2.ppf([1e-8, 1 - 1e-8], count) / count
    assert low < float(sums.square().mean()) / promised < high
    assert abs(float(np.corrcoef(sums[:-1].flatten(), sums[1:].flatten())[0, 1])) < 6 / math.sqrt(
        count)


def run(stack: PrivacyStack, parts: dict[str, Part], clients: int, round_: int = 0):  # type: ignore[no-untyped-def]
    cohort = Cohort(round_, np.arange(clients), clients)
    gate = stack.open(cohort)
    for ids in np.array_split(np.arange(clients), 3):
        gate.submit(ids, {n: p.rows(torch.from_numpy(ids)) for n, p in parts.items()})
    return stack.finish(gate.close(), cohort, clients)[0]


def test_the_ring_decodes_to_the_plain_sum_within_the_rounding() -> None:
    clients, parts = 30, uploads(30, 2)
    kinds = {name: PrivacyStack(RELEASES, Ledger(), aggregator=aggregator,
                                mechanism=grid_chain(2**16), source=SimulationSource(1))
             for name, aggregator in (
                 ("ring", RingAggregator()), ("plain", PlainAggregator()),
                 ("routed", RoutedAggregator(PlainAggregator(), RingAggregator())))}
    totals = {name: run(stack, parts, clients) for name, stack in kinds.items()}
    floats = PrivacyStack(RELEASES, Ledger(), mechanism=chain(
        [JointClip(2.0, WEIGHTS), GaussianNoise(0.0, 2.0)]))
    exact = run(floats, parts, clients)
    for name, weight in WEIGHTS.items():
        ring = totals["ring"].sums[name]
        assert torch.equal(ring, totals["plain"].sums[name])
        assert torch.equal(ring, totals["routed"].sums[name])
        error = (ring - exact.sums[name]).abs().max()
        assert 0 < float(error) < clients * 2.0 / 2**16 / weight


def test_central_noise_on_the_grid_has_the_promised_spread() -> None:
    """3,450 draws: their variance (false alarm 2e-8), and every value on the grid."""
    stack = PrivacyStack(RELEASES, Ledger(), aggregator=RingAggregator(),
                         mechanism=grid_chain(256, 3.0))
    zero: dict[str, Part] = {"a": Dense(torch.zeros(4, 3)), "b": Dense(torch.zeros(4, 6, 2)),
                             "c": Dense(torch.zeros(4, 4, 2))}
    drawn = []
    for t in range(150):
        sums = run(stack, zero, 4, t).sums
        drawn.append(torch.cat([sums[n].flatten() * WEIGHTS[n] for n in WEIGHTS]))
    values = torch.cat(drawn).double()
    assert stack.mechanism is not None
    promised = stack.mechanism.noise.stddev ** 2
    low, high = stats.chi2.ppf([1e-8, 1 - 1e-8], len(values)) / len(values)
    assert low < float(values.square().mean()) / promised < high
    steps = values / stack.mechanism.bound.grid
    assert float((steps - steps.round()).abs().max()) < 1e-3


def test_vanished_clients_are_not_in_the_sum_and_too_many_abort() -> None:
    parts = uploads(20, 5)
    stack = PrivacyStack(RELEASES, Ledger(), aggregator=RingAggregator(),
                         mechanism=grid_chain(2**12), survivors=Survivors(0.3, 0.3, 1))
    cohort = Cohort(0, np.arange(20), 20)
    gone = stack.survivors.dropouts(cohort)
    assert sum(len(x) for x in gone.values()) == 6
    missing = np.array(sorted(set().union(*(gone[s] for s in ("advert", "shares", "masked")))))
    stay = np.setdiff1d(np.arange(20), missing)
    alone = PrivacyStack(RELEASES, Ledger(), aggregator=RingAggregator(), source=stack.source,
                         mechanism=grid_chain(2**12), survivors=Survivors(0.5))
    alone_gate = alone.open(cohort)
    alone_gate.submit(stay, {n: p.rows(torch.from_numpy(stay)) for n, p in parts.items()})
    expected = alone_gate.close().sums
    gate = stack.open(cohort)
    gate.submit(np.arange(20), parts)
    for name, total in gate.close().sums.items():
        # Two roundings of the same vectors: each value moves by less than a step a client.
        assert float((total - expected[name]).abs().max()) < len(stay)
    strict = PrivacyStack(RELEASES, Ledger(), aggregator=RingAggregator(),
                          mechanism=grid_chain(2**12), survivors=Survivors(0.0, 0.3, 1))
    gate = strict.open(cohort)
    gate.submit(np.arange(20), parts)
    with pytest.raises(RoundAborted, match="at least 20 uploads"):
        gate.close()


def test_a_sum_of_fewer_clients_than_shares_is_refused() -> None:
    """Noise made for 18 shares hides nobody in a sum of 10."""
    cohort = Cohort(0, np.arange(20), 20)
    for tolerated, refused in ((0.1, False), (0.5, True)):
        stack = PrivacyStack(RELEASES, Ledger(), aggregator=RingAggregator(),
                             mechanism=distributed(512, 1.0, 18), survivors=Survivors(tolerated))
        if refused:
            with pytest.raises(ChainError, match="made for 18 shares"):
                stack.open(cohort)
        else:
            stack.open(cohort)


def test_noise_too_wide_for_its_table_is_refused_before_a_run() -> None:
    with pytest.raises(ChainError, match=r"lower secure\.levels"):
        distributed(2**20, 4.0, 2)


def test_stacks_that_would_not_protect_cannot_be_built() -> None:
    with pytest.raises(ChainError, match="sums integers"):
        PrivacyStack(RELEASES, Ledger(), aggregator=RingAggregator())
    with pytest.raises(ChainError, match="add a quantise step"):
        PrivacyStack(RELEASES, Ledger(), aggregator=RingAggregator(), mechanism=chain(
            [JointClip(2.0, WEIGHTS), GaussianNoise(0.0, 2.0)]))
    for aggregator in (PlainAggregator(), RoutedAggregator(RingAggregator(), PlainAggregator())):
        with pytest.raises(ChainError, match="secure sum of every release"):
            PrivacyStack(RELEASES, Ledger(), aggregator=aggregator,
                         mechanism=distributed(512, 1.0, 9))
