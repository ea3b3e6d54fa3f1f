"""Every way of summing, and one of the tests' own, under the contract for users' aggregators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from privfedmm_example.two_servers import TWO_SERVERS, Shares
from scipy import stats

import privfedmm as pf
from privacy import Aggregator, PlainAggregator, RingAggregator, RoutedAggregator
from privacy.aggregation.encrypted.bodies import UPLOAD
from privacy.aggregation.masked import Tolerance
from privacy.aggregation.masked.codec import MASKED, vector_of
from privacy.aggregation.messages import Transcript
from privacy.owners import Owners
from privfedmm.mechanisms.aggregators import AGGREGATORS, AggregatorEntry, SumTerms
from privfedmm.testing.aggregators import CLIENTS, DIMS, AggregatorContract

TERMS = SumTerms(population=CLIENTS, min_survivors=8, scheme="bfv",
                 tolerance=Tolerance(dropout=0.3, owners=Owners(share=0.05), failure_bits=10))


COUNTED = AggregatorEntry(
    name="counted", summary="a plain sum that somebody else wrote", reference="none",
    build=lambda terms: PlainAggregator(name="counted"), hides_clients=False)


class TestPlain(AggregatorContract):
    floats = True

    def made(self) -> Aggregator:
        return AGGREGATORS.get("plain").build(TERMS)


class TestRing(AggregatorContract):
    def made(self) -> Aggregator:
        return RingAggregator()


class TestMasked(AggregatorContract):
    smallest = 3  # with two, each knows the other's from the sum

    def made(self) -> Aggregator:
        return AGGREGATORS.get("masked").build(TERMS)


class TestEncrypted(AggregatorContract):
    smallest = TERMS.min_survivors  # the key holder fixes it for the whole run

    def made(self) -> Aggregator:
        return AGGREGATORS.get("encrypted").build(TERMS)


class TestRouted(AggregatorContract):
    def made(self) -> Aggregator:
        return RoutedAggregator(RingAggregator(), RingAggregator())


class TestRoutedOverTwoProtocols(AggregatorContract):
    smallest = TERMS.min_survivors

    def made(self) -> Aggregator:
        return RoutedAggregator(AGGREGATORS.get("masked").build(TERMS),
                                AGGREGATORS.get("encrypted").build(TERMS))

    def test_each_release_goes_its_own_way(self) -> None:
        everybody = np.arange(CLIENTS)
        both = self.played(self.task(), [everybody])
        assert {"masking_clients", "encryption_key_holder"} <= both.seconds.keys()
        transcripts = [Transcript(), Transcript()]
        routed = RoutedAggregator(*(
            AGGREGATORS.get(way).build(replace(TERMS, transcript=one))
            for way, one in zip(("masked", "encrypted"), transcripts, strict=True)))
        session = routed.open(self.task())
        session.submit(everybody, self.uploads(everybody))
        session.close()
        masked, encrypted = ({m.kind for m in one.messages} for one in transcripts)
        assert MASKED in masked and UPLOAD in encrypted and not masked & encrypted
        assert {len(vector_of(m.body)) for m in transcripts[0].messages if m.kind == MASKED} == {
            DIMS}


class TestRoutedInTheClearAndMasked(AggregatorContract):
    smallest = 3

    def made(self) -> Aggregator:
        return RoutedAggregator(PlainAggregator(), AGGREGATORS.get("masked").build(TERMS))


class TestTwoServers(AggregatorContract):
    def made(self) -> Aggregator:
        return TWO_SERVERS.build(TERMS)

    def test_what_each_server_holds_of_a_client_is_uniform(self) -> None:
        """Of 200 uploads of the same vector; false alarms: two in a million."""
        held = []
        for _ in range(200):
            session = self.made().open(self.task(min_survivors=1, clients=1))
            session.submit(np.arange(1), self.uploads(np.arange(1)))
            assert isinstance(session, Shares)
            held.append(session.servers)
        for server in np.stack(held, axis=1):
            assert stats.kstest(server.ravel() / 2**32, "uniform").pvalue > 1e-6


class TestCounted(AggregatorContract):
    floats = True

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
