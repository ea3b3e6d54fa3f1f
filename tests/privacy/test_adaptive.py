"""The clip norm that follows a quantile: where it goes, what it costs, and its caps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from privacy import (
    AdaptiveClip,
    Budget,
    BudgetError,
    ChainError,
    ClipRule,
    Dense,
    Everyone,
    GaussianNoise,
    JointClip,
    Ledger,
    Poisson,
    PrivacyStack,
    Project,
    Release,
    Sampling,
    SimulationSource,
    calibrate,
    chain,
    epsilon,
    state,
)
from privacy.adaptive import QUANTILE
from privacy.places import Place

USERS, DELTA = 400, 1e-5


class Kept:
    """A vault in memory."""

    def __init__(self) -> None:
        self.rounds: dict[int, dict[str, Tensor]] = {}

    def put(self, round_: int, sums: Mapping[str, Tensor]) -> None:
        self.rounds = {round_: dict(sums)}

    def get(self, round_: int) -> Mapping[str, Tensor] | None:
        return self.rounds.get(round_)


def vectors(seed: int = 0) -> Tensor:
    """Log-normal lengths with median 3."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(USERS, 6))
    x *= (3 * np.exp(0.8 * rng.normal(size=USERS)) / np.linalg.norm(x, axis=1))[:, None]
    return torch.from_numpy(x).float()


def stack(
    multiplier: float, rule: ClipRule, ledger: Ledger | None = None, vault: Kept | None = None,
    sampling: Sampling | None = None, seed: int = 0,
) -> PrivacyStack:
    base = chain([JointClip(rule.start, {"a": 1.0}), GaussianNoise(multiplier, rule.start)])
    return PrivacyStack(
        (Release("a", (6,)),), Ledger() if ledger is None else ledger, sampling or Everyone(),
        mechanism=base, source=SimulationSource(seed), vault=vault or Kept(),
        clipper=AdaptiveClip(rule))


def play(one: PrivacyStack, round_: int, x: Tensor) -> Tensor:
    cohort = one.draw(len(x), round_)
    gate = one.open(cohort)
    gate.submit(cohort.ids, {"a": Dense(x[cohort.ids])})
    totals, _ = one.finish(gate.close(), cohort, len(x))
    assert totals.sums.keys() == {"a"}, "the clip bits are the stack's own business"
    return totals.sums["a"]


def rule(start: float = 0.1, bit_stddev: float = USERS / 20, **over: float) -> ClipRule:
    caps = {"smallest": 0.01, "largest": 100.0, **over}
    return ClipRule(start=start, bit_stddev=bit_stddev, **caps)


@pytest.mark.parametrize(("start", "quantile"), [(0.1, 0.5), (60.0, 0.5), (0.5, 0.8)])
@pytest.mark.parametrize("sampling", [Everyone(), Poisson(0.5)])
def test_it_reaches_the_quantile_and_stays(
    start: float, quantile: float, sampling: Sampling
) -> None:
    x = vectors()
    size = USERS * sampling.rate
    one = stack(5.0, rule(start, size / 20, quantile=quantile), sampling=sampling)
    for round_ in range(120):
        play(one, round_, x)
    assert one.clipper is not None
    late = np.log(one.clipper.rule.trajectory(one.clipper.shares)[80:])
    want = math.log(float(x.norm(dim=1).quantile(quantile)))
    # One step is 0.2 x (noise .05 and, under sampling, .035): stationary spread about .03.
    assert abs(late.mean() - want) < 0.1 and late.std() < 0.2


def test_both_releases_together_cost_the_budget_and_no_more() -> None:
    rounds, x = 8, vectors()
    z = calibrate(2.0, DELTA, rounds, Everyone(), USERS)
    one = stack(z, rule(), Ledger((), Budget(2.0, DELTA)))
    for round_ in range(rounds):
        play(one, round_, x)
    spent = one.ledger.spent(DELTA)
    assert spent == pytest.approx(2.0, abs=1e-6) and spent <= 2.0
    for name, tolerance in (("pld", 1e-3), ("prv", 2e-2)):
        assert epsilon(one.ledger.entries, DELTA, name) == pytest.approx(  # type: ignore[arg-type]
            2.0, abs=tolerance)
    assert [e.name for e in one.ledger.entries] == ["joint", QUANTILE] * rounds
    with pytest.raises(BudgetError):
        play(one, rounds, x)
    assert len(one.ledger.entries) == 2 * rounds, "neither release of the round is charged"
    clips = [e.clip_norm for e in one.ledger.entries if e.name == "joint"]
    assert one.clipper is not None
    assert clips == one.clipper.rule.trajectory(one.clipper.shares)[:-1]


def test_under_sampling_both_cost_what_one_of_the_whole_multiplier_costs() -> None:
    one = stack(3.0, rule(bit_stddev=6.0), sampling=Poisson(0.3))
    for round_ in range(3):
        play(one, round_, vectors())
    single = [replace(e, noise_multiplier=3.0) for e in one.ledger.entries if e.name == "joint"]
    assert one.ledger.spent(DELTA) == pytest.approx(epsilon(single, DELTA), abs=1e-6)


def test_the_split_of_the_budget() -> None:
    """Origin: shared design note, n = 943, T = 20 and 100: 8.92 -> 8.96, 19.94 -> 20.40."""
    known = ClipRule(start=1.0, smallest=0.1, largest=10.0, bit_stddev=943 / 20)
    assert known.vector_multiplier(8.917) == pytest.approx(8.957, abs=5e-3)
    assert known.vector_multiplier(19.938) == pytest.approx(20.40, abs=2e-2)
    with pytest.raises(ChainError, match="spends the whole budget"):
        known.vector_multiplier(95.0)


def test_a_round_played_again_gives_the_same_clip_norms() -> None:
    x = vectors()
    whole = stack(5.0, rule())
    sums = [play(whole, t, x) for t in range(6)]
    vault = Kept()
    first = stack(5.0, rule(), vault=vault)
    for t in range(4):
        play(first, t, x)
    # The checkpoint is of the end of round 2; round 3 was charged, in part or in whole.
    for charged in (7, 8):
        rows = first.ledger.to_json()[:charged]
        again = stack(5.0, rule(), Ledger.from_json(rows), vault, seed=0)
        assert again.clipper is not None and whole.clipper is not None
        assert first.clipper is not None
        again.clipper.shares = first.clipper.shares[:3]
        held = dict(vault.rounds)
        assert torch.equal(play(again, 3, x), sums[3])
        assert len(again.ledger.entries) == 8, "the charge that was missing is made, once"
        assert [play(again, t, x).tolist() for t in (4, 5)] == [s.tolist() for s in sums[4:]]
        assert again.clipper.shares == whole.clipper.shares
        assert again.ledger.to_json() == whole.ledger.to_json()
        vault.rounds = held


def test_without_noise_the_share_is_exact() -> None:
    x = vectors()
    one = stack(0.0, rule(start=3.0, bit_stddev=0.0))
    got = play(one, 0, x)
    assert one.clipper is not None
    assert one.clipper.shares == [pytest.approx(float((x.norm(dim=1) <= 3.0).float().mean()))]
    clipped = x * (3.0 / x.norm(dim=1)).clamp(max=1)[:, None]
    torch.testing.assert_close(got, clipped.sum(0), rtol=1e-3, atol=1e-3)
    assert {e.event for e in one.ledger.entries} == {"NonPrivate"}


def test_an_aborted_round_is_charged_once_and_whole() -> None:
    one = stack(5.0, rule(), sampling=Poisson(0.5))
    one.abort(one.draw(USERS, 0), USERS)
    (entry,) = one.ledger.entries
    assert entry.status == "aborted" and entry.noise_multiplier == pytest.approx(5.0, rel=1e-12)


def test_unusable_clients_count_as_clipped() -> None:
    x = torch.full((10, 6), float("nan"))
    one = stack(0.0, rule(start=1.0, bit_stddev=0.0))
    assert bool((play(one, 0, x) == 0).all())
    assert one.clipper is not None and one.clipper.shares == [0.0]


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.floats(0.05, 0.95))
def test_the_caps_hold_whatever_is_released(shares: list[float], quantile: float) -> None:
    norms = ClipRule(start=1.0, smallest=0.5, largest=4.0, quantile=quantile).trajectory(shares)
    assert all(0.5 <= n <= 4.0 for n in norms)
    steps = np.abs(np.diff(np.log(norms)))
    assert (steps <= 0.2 * max(quantile, 1 - quantile) + 1e-12).all()


def test_the_projection_stays_and_the_wrong_chain_is_refused() -> None:
    basis = torch.linalg.qr(torch.randn(6, 2, generator=torch.Generator().manual_seed(0))).Q
    releases = (Release("a", (6, 1)),)
    base = chain([Project({"a": basis}), JointClip(1.0, {"a": 1.0}), GaussianNoise(0.0, 1.0)])
    one = PrivacyStack(releases, Ledger(), mechanism=base,
                       clipper=AdaptiveClip(rule(start=100.0, bit_stddev=0.0)))
    x = vectors()[:, :, None]
    torch.testing.assert_close(
        play(one, 0, x), basis @ (basis.T @ x.sum(0)), rtol=1e-3, atol=1e-2)
    local = chain([JointClip(1.0, {"a": 1.0}), GaussianNoise(3.0, 1.0, Place.LOCAL)])
    with pytest.raises(ChainError, match="noise on the sum"):
        PrivacyStack(releases, Ledger(), mechanism=local, clipper=AdaptiveClip(rule(start=1.0)))
    with pytest.raises(ChainError, match="outside its caps"):
        rule(start=200.0)


def test_the_statement_says_how_the_clip_moves() -> None:
    z = calibrate(2.0, DELTA, 8, Everyone(), USERS)
    said = state(stack(z, rule()), Budget(2.0, DELTA), 8, USERS, 6)
    assert said.epsilon == pytest.approx(2.0, abs=1e-6)
    assert any("adaptive clip" in line and "50%" in line for line in said.lines())
    fixed = state(replace(stack(z, rule()), clipper=None), Budget(2.0, DELTA), 8, USERS, 6)
    assert fixed.clipping == "fixed" and not any("adaptive" in line for line in fixed.lines())
