"""Every way of summing, and one of the tests' own, under the contract for users' aggregators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import privfedmm as pf
from privacy import Aggregator, PlainAggregator, RingAggregator, RoutedAggregator
from privfedmm.mechanisms.aggregators import AGGREGATORS, AggregatorEntry, SumTerms
from privfedmm.testing.aggregators import CLIENTS, AggregatorContract

TERMS = SumTerms(population=CLIENTS, min_survivors=8, dropout=0.3, colluding=0.05,
                 failure_bits=10, scheme="bfv")


COUNTED = AggregatorEntry(
    name="counted", summary="a plain sum that somebody else wrote", reference="none",
    build=lambda terms: PlainAggregator(name="counted"), hides_clients=False)


class TestPlain(AggregatorContract):
    def made(self) -> Aggregator:
        return AGGREGATORS.get("plain").build(TERMS)


class TestRing(AggregatorContract):
    def made(self) -> Aggregator:
        return RingAggregator()


class TestMasked(AggregatorContract):
    def made(self) -> Aggregator:
        return AGGREGATORS.get("masked").build(TERMS)


class TestEncrypted(AggregatorContract):
    def made(self) -> Aggregator:
        return AGGREGATORS.get("encrypted").build(TERMS)


class TestRouted(AggregatorContract):
    def made(self) -> Aggregator:
        return RoutedAggregator(RingAggregator(), RingAggregator())


class TestCounted(AggregatorContract):
    def made(self) -> Aggregator:
        return COUNTED.build(TERMS)


@pytest.fixture
def registered() -> Iterator[None]:
    AGGREGATORS.register(COUNTED)
    yield
    AGGREGATORS.forget("counted")


@pytest.mark.usefixtures("registered")
def test_a_foreign_one_carries_a_run() -> None:
    run = pf.train("planted:60", method="popularity", aggregation="counted", baselines=[])
    same = pf.train("planted:60", method="popularity", baselines=[])
    assert run.statement["aggregation"] == "counted"
    assert run.record["metrics"] == same.record["metrics"]
    assert run.audit(quick=True, seed=1).passed


def test_what_carries_statistics_alone_is_refused_for_updates() -> None:
    with pytest.raises(pf.UserError, match="aggregation: encrypted carries group statistics alone"):
        pf.train("planted:60", aggregation="encrypted")
    with pytest.raises(pf.UserError, match="there is no way of summing 'added'; there are plain"):
        pf.train("planted:60", aggregation="added")
