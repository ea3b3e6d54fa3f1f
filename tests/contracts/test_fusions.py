"""Every fusion module there is, and the example package's, under the contract for users' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from privfedmm_example.low_rank_bilinear import LOW_RANK_BILINEAR

import privfedmm as pf
from privfedmm.fusions import FUSIONS
from privfedmm.testing.fusions import FusionContract


class TestSum(FusionContract):
    entry = FUSIONS.get("sum")


class TestMlp(FusionContract):
    entry = FUSIONS.get("mlp")


class TestGate(FusionContract):
    entry = FUSIONS.get("gate")


class TestMoe(FusionContract):
    entry = FUSIONS.get("moe")


class TestAttention(FusionContract):
    entry = FUSIONS.get("attention")


class TestLowRankBilinear(FusionContract):
    entry = LOW_RANK_BILINEAR


@pytest.fixture
def registered() -> Iterator[None]:
    FUSIONS.register(LOW_RANK_BILINEAR)
    yield
    FUSIONS.forget("low_rank_bilinear")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("aggregation", ["plain", "masked"])
def test_a_foreign_one_teaches_groups(aggregation: str) -> None:
    run = pf.train("planted:60", method="gfmfr", rounds=3, baselines=[], aggregation=aggregation,
                   settings={"algorithm.groups.start_round": 0,
                             "algorithm.fusion.module": "low_rank_bilinear"})
    assert run.record["parts"]["fusion"] == "low_rank_bilinear"
    assert run.metrics["ndcg@50"].notna().all()


def test_an_unknown_one_is_refused_with_those_there_are() -> None:
    with pytest.raises(pf.UserError, match=r"algorithm\.fusion\.module: .* there are sum, mlp"):
        pf.train("planted:60", settings={"algorithm.fusion.module": "cross"})
