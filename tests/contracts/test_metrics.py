"""Every metric there is under the contract for users' own, and one that is registered."""

from __future__ import annotations

import pytest

import privfedmm as pf
from privfedmm.evaluation import METRICS, Metric, Places
from privfedmm.testing.metrics import MetricContract


class TestHr(MetricContract):
    metric = METRICS.get("hr")


class TestNdcg(MetricContract):
    metric = METRICS.get("ndcg")


class TestRecall(MetricContract):
    metric = METRICS.get("recall")


class TestPrecision(MetricContract):
    metric = METRICS.get("precision")


class TestMap(MetricContract):
    metric = METRICS.get("map")


class TestMrr(MetricContract):
    metric = METRICS.get("mrr")


WHOLE = Metric(
    "whole", lambda places, k: 1.0 * ((places.counts > 0) & (
        places.sum(1.0 * (places.ranks <= k)) == places.counts)),
    "1 where all held-out items are among the first k", "this test")


def test_a_metric_of_ones_own_is_recorded_and_the_contract_finds_a_wrong_one() -> None:
    METRICS.register(WHOLE)
    try:
        run = pf.train("planted:60", rounds=1, baselines=["popularity"],
                       settings={"evaluation.metrics": ["whole@20"]})
        assert run.record["metrics"]["test"]["whole@20"] == run.record["metrics"]["test"]["hr@20"]
    finally:
        METRICS.forget("whole")

    class Wrong(MetricContract):
        metric = Metric("wrong", lambda places, k: places.sum(1.0 / places.ranks), "-", "-")

    with pytest.raises(AssertionError):
        Wrong().test_it_gives_every_user_a_value_from_0_to_1()
    assert isinstance(Wrong().places(), Places)
