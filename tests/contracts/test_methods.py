"""Every method there is, under the contract that users' own methods are tested by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from privfedmm_example.fedavg_embeddings import FEDAVG_EMBEDDINGS

from privfedmm.methods import METHODS
from privfedmm.testing.methods import MethodContract


class TestGfmfr(MethodContract):
    method = "gfmfr"
    settings: ClassVar[Mapping[str, Any]] = {"algorithm.groups.start_round": 0}


class TestGfmfrReference(MethodContract):
    """Reference mode hands the server each client's parameters: no sum, and no budget."""

    method = "gfmfr"
    settings: ClassVar[Mapping[str, Any]] = {"mode": "reference", "algorithm.fusion.epochs": 2}

    def test_it_runs_under_every_protection_it_claims(self) -> None:
        import privfedmm as pf

        with pytest.raises(pf.UserError, match="no epsilon holds there"):
            pf.train(self.dataset, mode="reference", method=self.method, dp_epsilon=2.0)


class TestBackbone(MethodContract):
    method = "backbone"


class TestLocal(MethodContract):
    method = "local"


class TestGroupStatistics(MethodContract):
    method = "group_statistics"
    settings: ClassVar[Mapping[str, Any]] = {
        "statistics.groups": 3, "statistics.association_rank": 8}


class TestTaste(MethodContract):
    method = "taste"


class TestPopularity(MethodContract):
    method = "popularity"


class TestPopularityProfile(MethodContract):
    method = "popularity_profile"


@pytest.fixture(scope="module", autouse=True)
def example() -> Iterator[None]:
    """The method of the example package, registered by a call."""
    METHODS.register(FEDAVG_EMBEDDINGS)
    yield
    METHODS.forget(FEDAVG_EMBEDDINGS.name)


class TestFedavgEmbeddings(MethodContract):
    method = "fedavg_embeddings"
