"""Noise as stated, fresh where it must be, and never a second time for one sum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from privacy import (
    Budget,
    BudgetError,
    ChainError,
    Cohort,
    Dense,
    Everyone,
    FixedSize,
    GaussianNoise,
    JointClip,
    Ledger,
    Poisson,
    PrivacyStack,
    Release,
    SimulationSource,
    Source,
    SystemSource,
    UploadError,
    calibrate,
    chain,
    state,
)
from privacy.places import Place

Z, C, WEIGHT = 2.5, 0.8, 0.5


def releases_of_zero(source: Source, rounds: int, size: int) -> np.ndarray:
    noise = GaussianNoise(Z, C)
    return np.stack([
        noise.on_sums({"a": torch.zeros(size)}, {"a": WEIGHT}, source, t)["a"].numpy()
        for t in range(rounds)
    ])


@pytest.mark.parametrize("source", [SystemSource(), SimulationSource(3)], ids=["csprng", "seed"])
def test_noise_has_its_variance_and_no_memory(source: Source) -> None:
    """6,000 releases of 6 zeros. False alarms: 6 x 2e-8 + 1e-7 + 21 x 2e-9, below 3e-7."""
    rounds = 6000
    drawn = releases_of_zero(source, rounds, 6)
    variance = (Z * C / WEIGHT) ** 2
    low, high = (stats.chi2.ppf(q, rounds) / rounds for q in (1e-8, 1 - 1e-8))
    assert 0.89 < low < high < 1.11, "a tenth more or less would be seen"
    ratio = (drawn**2).mean(0) / variance
    assert ((low < ratio) & (ratio < high)).all(), ratio
    assert stats.kstest(drawn.reshape(-1) / variance**0.5, "norm").pvalue > 1e-7
    across = np.corrcoef(drawn.T)[np.triu_indices(6, 1)]
    later = [np.corrcoef(drawn[:-1, k], drawn[1:, k])[0, 1] for k in range(6)]
    assert np.abs([*across, *later]).max() < 6.0 / np.sqrt(rounds)


def test_system_noise_is_never_repeated_and_simulation_noise_always() -> None:
    one, two = SystemSource(), SystemSource()
    draws = [s.normal("a", 0, 8) for s in (one, one, two)]
    assert len({d.tobytes() for d in draws}) == 3
    again, once_more = (SimulationSource(1).normal("a", 0, 8) for _ in range(2))
    assert np.array_equal(again, once_more)
    others = (SimulationSource(2).normal("a", 0, 8), SimulationSource(1).normal("b", 0, 8),
              SimulationSource(1).normal("a", 1, 8))
    assert all(not np.array_equal(again[0], o) for o in others)
    assert len(SimulationSource(1).normal("a", 0, 7)) == 7


def test_local_noise_is_on_every_row_of_every_client() -> None:
    mechanism = chain([JointClip(1.0, {"a": 1.0}), GaussianNoise(3.0, 1.0, Place.LOCAL)])
    uploads = {"a": Dense(torch.zeros(500, 4))}
    noised = mechanism.on_clients(uploads, np.arange(500), SimulationSource(0), 0).uploads
    rows = noised["a"].dense()
    assert float(rows.std()) == pytest.approx(3.0, rel=0.08)
    assert bool((rows != 0).all())
    summed = {"a": torch.ones(4)}
    assert torch.equal(mechanism.on_sum(summed, SimulationSource(0), 0)["a"], summed["a"])


class Kept:
    """A vault in memory."""

    def __init__(self) -> None:
        self.round, self.sums = -1, {}  # type: ignore[var-annotated]

    def put(self, round_: int, sums: Mapping[str, Tensor]) -> None:
        self.round, self.sums = round_, dict(sums)

    def get(self, round_: int) -> Mapping[str, Tensor] | None:
        return self.sums if self.round == round_ else None


def private(ledger: Ledger, vault: Kept | None, multiplier: float) -> PrivacyStack:
    mechanism = chain([JointClip(1.0, {"a": 1.0}), GaussianNoise(multiplier, 1.0)])
    return PrivacyStack((Release("a", (4,)),), ledger, mechanism=mechanism, vault=vault)


def play(stack: PrivacyStack, round_: int) -> Tensor:
    cohort = stack.draw(10, round_)
    gate = stack.open(cohort)
    gate.submit(cohort.ids, {"a": Dense(torch.ones(10, 4))})
    totals, _ = stack.finish(gate.close(), cohort, 10)
    return totals.sums["a"]


def test_a_budget_is_kept() -> None:
    budget = Budget(2.0, 1e-5)
    stack = private(Ledger((), budget), Kept(), calibrate(2.0, 1e-5, 3, Everyone(), 10))
    for round_ in range(3):
        play(stack, round_)
    assert stack.ledger.spent(1e-5) == pytest.approx(2.0, abs=1e-6)
    vault = stack.vault
    with pytest.raises(BudgetError, match="more than the budget of 2"):
        play(stack, 3)
    assert len(stack.ledger.entries) == 3
    assert isinstance(vault, Kept) and vault.round == 2, "nothing was made ready for release"


def test_a_round_played_again_is_neither_charged_nor_drawn_again() -> None:
    seen: list[int] = []
    ledger = Ledger((), Budget(2.0, 1e-5), lambda kept: seen.append(len(kept.entries)))
    vault = Kept()
    stack = private(ledger, vault, 5.0)
    first = play(stack, 0)
    assert seen == [1], "the charge is durable before the release"
    restarted = private(Ledger.from_json(ledger.to_json(), ledger.budget), vault, 5.0)
    assert torch.equal(play(restarted, 0), first)
    assert len(restarted.ledger.entries) == 1
    assert not torch.equal(play(restarted, 1), first)
    lost = private(Ledger.from_json(ledger.to_json(), ledger.budget), Kept(), 5.0)
    with pytest.raises(UploadError, match="second charge"):
        play(lost, 0)


def test_an_aborted_round_is_charged_and_its_successor_has_other_noise() -> None:
    stack = private(Ledger(), Kept(), 5.0)
    object.__setattr__(stack, "source", SimulationSource(0))
    untroubled = play(stack, 0)
    other = private(Ledger(), Kept(), 5.0)
    object.__setattr__(other, "source", SimulationSource(0))
    other.abort(other.draw(10, 0), 10)
    assert not torch.equal(play(other, 0), untroubled)
    assert [e.status for e in other.ledger.entries] == ["aborted", "released"]


def test_stacks_that_protect_nothing_cannot_be_built() -> None:
    mechanism = chain([JointClip(1.0, {"a": 1.0}), GaussianNoise(1.0, 1.0)])
    with pytest.raises(ChainError, match="every client's own vector"):
        PrivacyStack((Release("a", (4,), "individual"),), Ledger(), mechanism=mechanism)
    with pytest.raises(ChainError, match="weights and declared releases differ in b"):
        PrivacyStack((Release("a", (4,)), Release("b", (4,))), Ledger(), mechanism=mechanism)


def test_samplings_draw_what_they_state() -> None:
    source = SimulationSource(0)
    sizes = [len(Poisson(0.2).draw(1000, t, source).ids) for t in range(200)]
    # Mean of 200 binomials: standard error .9; false alarm below 1e-6 at 5.
    assert abs(np.mean(sizes) - 200) < 4.5 and np.std(sizes) > 8
    assert Poisson(0.2).draw(1000, 0, source).denominator == 200
    fixed = FixedSize(100, 1000)
    drawn = [fixed.draw(1000, t, source).ids for t in range(50)]
    assert {len(ids) for ids in drawn} == {100} and (np.diff(drawn[0]) > 0).all()
    assert not np.array_equal(drawn[0], drawn[1])
    with pytest.raises(ValueError, match="planned for 1000"):
        fixed.draw(999, 0, source)
    for bad in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Poisson(bad)


def test_the_statement_names_against_whom() -> None:
    budget = Budget(2.0, 1e-5)
    sampled = calibrate(2.0, 1e-5, 100, Poisson(0.1), 1000)
    mechanism = chain([JointClip(1.0, {"a": 1.0}), GaussianNoise(sampled, 1.0)])
    stack = PrivacyStack((Release("a", (4,)),), Ledger(), Poisson(0.1), mechanism=mechanism)
    said = state(stack, budget, 100, 1000, 4)
    assert said.epsilon is not None and said.epsilon <= 2.0
    assert said.epsilon_vs_server is None, "a central server reads uploads in the clear"
    assert said.epsilon_if_participation_is_seen is not None
    assert said.epsilon_if_participation_is_seen > 10
    assert any("not covered" in line for line in said.lines())
    local = calibrate(2.0, 1e-5, 4, Everyone(), 10, local=True)
    own = chain([JointClip(1.0, {"a": 1.0}), GaussianNoise(local, 1.0, Place.LOCAL)])
    said = state(PrivacyStack((Release("a", (4,)),), Ledger(), mechanism=own), budget, 4, 10, 4)
    assert said.epsilon_vs_server == pytest.approx(2.0)
    nothing = state(PrivacyStack((Release("a", (4,)),), Ledger()), None, 4, 10, 4)
    assert nothing.epsilon is None and "no privacy is claimed" in nothing.lines()[0]


def test_an_empty_cohort_is_a_round() -> None:
    stack = private(Ledger(), Kept(), 5.0)
    cohort = Cohort(0, np.zeros(0, dtype=np.int64), 3.0)
    totals, _ = stack.finish(stack.open(cohort).close(), cohort, 30)
    assert totals.cohort == 3.0 and bool((totals.sums["a"] != 0).all())
