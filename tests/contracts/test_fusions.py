"""Every fusion module there is, and one of the tests' own, under the contract for users' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import privfedmm as pf
from privfedmm.fusions import FUSIONS, FusionEntry
from privfedmm.testing.fusions import FusionContract


class Product(nn.Module):
    """The product of the inputs, after one learnt scale each."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(len(names), dim))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        rows = [x * scale for x, scale in zip(inputs.values(), self.scale, strict=True)]
        return torch.stack(rows).prod(0)


PRODUCT = FusionEntry(name="product", summary="the product of the inputs", build=Product)


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


class TestProduct(FusionContract):
    entry = PRODUCT


@pytest.fixture
def registered() -> Iterator[None]:
    FUSIONS.register(PRODUCT)
    yield
    FUSIONS.forget("product")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("aggregation", ["plain", "masked"])
def test_a_foreign_one_teaches_groups(aggregation: str) -> None:
    run = pf.train("planted:60", method="gfmfr", rounds=3, baselines=[], aggregation=aggregation,
                   settings={"algorithm.groups.start_round": 0,
                             "algorithm.fusion.module": "product"})
    assert run.record["parts"]["fusion"] == "product"
    assert run.metrics["ndcg@50"].notna().all()


def test_an_unknown_one_is_refused_with_those_there_are() -> None:
    with pytest.raises(pf.UserError, match=r"algorithm\.fusion\.module: .* there are sum, mlp"):
        pf.train("planted:60", settings={"algorithm.fusion.module": "cross"})
