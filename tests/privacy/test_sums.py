"""A stack from the figures of a promise: nothing inferred, nothing half stated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import privfedmm_example.laplace  # noqa: F401  (registers Laplace noise)
import pytest
import torch
from torch import Tensor

from privacy import (
    Budget,
    BudgetError,
    ChainError,
    Dense,
    Everyone,
    Ledger,
    PlainAggregator,
    Poisson,
    PricingError,
    PrivateSums,
    ProtocolError,
    Release,
    RingAggregator,
    SimulationSource,
    Survivors,
    UploadError,
    Uploads,
    private_sums,
)
from privacy.aggregation.simulated.masked import MaskedAggregator

CLIENTS, ROUNDS, BUDGET = 40, 4, Budget(3.0, 1e-5)
STATED: dict[str, Any] = {
    "weights": {"a": 1.0, "b": 2.0}, "clip_norm": 1.0, "levels": None, "noise": "gaussian",
    "place": "central", "shares": None, "rounds": ROUNDS, "population": CLIENTS,
    "sampling": Everyone(), "aggregator": PlainAggregator(), "survivors": Survivors(),
    "source": SimulationSource(4), "vault": None,
}
RELEASES = [Release("a", (3,)), Release("b", (2, 2))]


def sums(**stated: Any) -> PrivateSums:
    return private_sums(RELEASES, **{"ledger": Ledger((), BUDGET), **STATED, **stated})


def ones(ids: np.ndarray) -> Uploads:
    """Vectors of norm sqrt(3 x .04 + 4 x 4 x .01) = .53, inside the clip."""
    return {"a": Dense(torch.full((len(ids), 3), 0.2)),
            "b": Dense(torch.full((len(ids), 2, 2), 0.1))}


GRID = {"aggregator": RingAggregator(), "levels": 1024}


@pytest.mark.parametrize(("stated", "event"), [
    ({}, "Gaussian"),
    ({"place": "local"}, "LocalGaussian"),
    pytest.param({"sampling": Poisson(0.5)}, "PoissonSampledGaussian", marks=pytest.mark.slow),
    (GRID, "Gaussian"),
    ({**GRID, "place": "distributed", "shares": CLIENTS}, "DistributedDiscreteGaussian"),
    ({"noise": "laplace"}, "CentralLaplace"),
    ({**GRID, "noise": "laplace"}, "CentralLaplace"),
], ids=["central", "local", "poisson", "grid", "distributed", "laplace", "laplace-grid"])
def test_all_rounds_spend_the_budget_and_one_more_is_refused(
    stated: Mapping[str, Any], event: str
) -> None:
    ours = sums(**stated)
    said = ours.statement()
    for number in range(ROUNDS):
        totals = ours.round(number, ones)
        drawn = {n: (x - totals.cohort * ones(np.arange(1))[n].dense()[0]).abs().max()
                 for n, x in totals.sums.items()}
        if event != "PoissonSampledGaussian":
            # 28 draws within 8 standard deviations, of a sum that is otherwise exact.
            assert all(drawn[n] < 8 * s + 0.1 for n, s in totals.noise_stddev.items())
    entries = ours.stack.ledger.entries
    assert [e.event for e in entries] == [event] * ROUNDS
    spent = ours.stack.ledger.spent(BUDGET.delta)
    assert 0.98 * BUDGET.epsilon < spent <= BUDGET.epsilon * (1 + 1e-6)
    assert said.epsilon == pytest.approx(spent, rel=1e-6)

    def never(ids: np.ndarray) -> Uploads:
        raise AssertionError("clients were asked for a round that is not paid for")

    with pytest.raises(BudgetError):
        ours.round(ROUNDS, never)


def test_rounds_of_different_length_are_paid_for_by_the_longest() -> None:
    """A Laplace price grows with the values: the second round has three times those of others."""
    releases = [Release("a", (3,)), Release("b", (6,), rounds=(1,))]
    ours = private_sums(releases, **{**STATED, "noise": "laplace"}, ledger=Ledger((), BUDGET))

    def uploads(number: int, ids: np.ndarray) -> Uploads:
        parts = {"a": Dense(torch.zeros(len(ids), 3)), "b": Dense(torch.zeros(len(ids), 6))}
        return {n: p for n, p in parts.items() if n == "a" or number == 1}

    for number in range(ROUNDS):
        ours.round(number, partial(uploads, number))
    assert [e.dims for e in ours.stack.ledger.entries] == [3, 9, 3, 3]
    claimed = ours.statement().epsilon
    assert claimed is not None and claimed <= BUDGET.epsilon
    assert ours.stack.ledger.spent(BUDGET.delta) < claimed


def test_a_vault_lets_a_round_be_played_again() -> None:
    class Kept:
        def __init__(self) -> None:
            self.sums: dict[int, Mapping[str, Tensor]] = {}

        def put(self, round_: int, sums: Mapping[str, Tensor]) -> None:
            self.sums[round_] = sums

        def get(self, round_: int) -> Mapping[str, Tensor] | None:
            return self.sums.get(round_)

    ours = sums(vault=Kept())
    first = ours.round(0, ones)
    again = ours.round(0, ones)
    assert all(torch.equal(first.sums[n], again.sums[n]) for n in first.sums)
    assert len(ours.stack.ledger.entries) == 1
    lost = sums()
    lost.round(0, ones)
    with pytest.raises(UploadError, match="second charge"):
        lost.round(0, ones)


@pytest.mark.parametrize(("stated", "error", "match"), [
    ({"noise": "skellam"}, ValueError, "no noise is called 'skellam'"),
    ({"ledger": Ledger()}, ValueError, "need a budget"),
    ({"shares": 3}, ChainError, "only there"),
    ({**GRID, "place": "distributed"}, ChainError, "only there"),
    ({"levels": 16}, ChainError, "levels are those"),
    ({"aggregator": RingAggregator()}, ChainError, "levels are those"),
    ({"noise": "laplace", "place": "local"}, ChainError, "not known at place local"),
    ({"place": "local", "sampling": Poisson(0.5)}, PricingError, "full participation"),
    ({"weights": {"a": 1.0}}, ChainError, "differ in b"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_what_is_half_stated_is_refused(
    stated: Mapping[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        sums(**stated)


def test_a_round_that_fails_after_uploads_is_charged() -> None:
    ours = sums()
    with pytest.raises(UploadError, match="differ in b"):
        ours.round(0, lambda ids: {"a": ones(ids)["a"]})
    assert [e.status for e in ours.stack.ledger.entries] == ["aborted"]


def test_a_round_that_the_protocol_refuses_before_uploads_costs_nothing() -> None:
    """A masked sum of two clients, which would show each of them the other's vector."""
    ours = sums(population=2, levels=1024, aggregator=MaskedAggregator())
    with pytest.raises(ProtocolError):
        ours.round(0, ones)
    assert not ours.stack.ledger.entries
