"""Every metric there is, and the example package's, under the contract for users' own."""

from __future__ import annotations

import numpy as np
import pytest
from privfedmm_example.rank_biased import RBP

import privfedmm as pf
from privfedmm.evaluation import METRICS, Metric
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


class TestRankBiased(MetricContract):
    metric = RBP


def test_a_metric_of_ones_own_is_recorded() -> None:
    METRICS.register(RBP)
    try:
        run = pf.train("planted:60", rounds=1, baselines=["popularity"],
                       settings={"evaluation.metrics": ["rbp@20"]})
        ranks = run.ranks["test"]
        assert isinstance(ranks, np.ndarray)
        slow = np.mean([0.2 * 0.8 ** (rank - 1) if rank <= 20 else 0 for rank in ranks])
        assert run.record["metrics"]["test"]["rbp@20"] == pytest.approx(slow)
    finally:
        METRICS.forget("rbp")


def test_the_contract_finds_a_wrong_one() -> None:
    class Wrong(MetricContract):
        metric = Metric("wrong", lambda places, k: places.sum(1.0 / places.ranks), "-", "-")

    with pytest.raises(AssertionError):
        Wrong().test_it_gives_every_user_a_value_from_0_to_1()
