"""Every backbone there is, the example package's and one of the tests' own, under the contract for
users' backbones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from privfedmm_example.fcf import FCF
from torch import Tensor

import privfedmm as pf
from privfedmm.backbones import BACKBONES, BackboneEntry, Gradients, Network, PlainBackbone
from privfedmm.testing.backbones import BackboneContract
from tests.commands import cli


class Distance(PlainBackbone):
    """The nearer an item row to the user vector, the better: no term of it is linear in the row."""

    name = "distance"

    def logits(self, user: Tensor, rows: Tensor, network: Network) -> Tensor:
        return -(rows - user[:, None, :]).square().sum(2)

    def gradients(
        self, user: Tensor, rows: Tensor, network: Network, residual: Tensor
    ) -> Gradients:
        by_rows = -2 * residual[:, :, None] * (rows - user[:, None, :])
        return Gradients(-by_rows.sum(1), by_rows, {})


DISTANCE = BackboneEntry(name="distance", summary="squared distance", build=Distance)


class TestRegistered(BackboneContract):
    """From the registry, so that one that joins it is held to the contract as well."""

    @pytest.fixture(autouse=True, params=BACKBONES.names())
    def named(self, request: pytest.FixtureRequest) -> None:
        self.entry = BACKBONES.get(request.param)


class TestFcf(BackboneContract):
    """The example package's, as its own tests would have it."""

    entry = FCF


class TestDistance(BackboneContract):
    entry = DISTANCE


@pytest.fixture
def registered() -> Iterator[None]:
    BACKBONES.register(DISTANCE)
    yield
    BACKBONES.forget("distance")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("flags", [
    {}, {"aggregation": "masked"}, {"dp_epsilon": 8.0, "noise": "simulation"}],
    ids=["plain", "masked", "private"])
def test_a_foreign_one_trains_in_gfmfr(flags: dict[str, object]) -> None:
    run = pf.train("planted:60", method="gfmfr", backbone="distance", rounds=2, baselines=[],
                   settings={"algorithm.groups.start_round": 0}, **flags)  # type: ignore[arg-type]
    assert run.record["backbone"] == "distance"
    assert torch.isfinite(torch.tensor(run.metrics["ndcg@50"].to_numpy())).all()
    assert len(run.recommend("u1", 3)) == 3


@pytest.mark.usefixtures("registered")
def test_what_it_cannot_is_refused() -> None:
    for flags, words in (
        ({"dp_epsilon": 2.0, "unit": "interaction"}, "per-example gradients are not written"),
        ({"mode": "reference"}, "has none; use backbone fedrap"),
    ):
        with pytest.raises(pf.UserError, match=words):
            pf.train("planted:60", method="gfmfr", backbone="distance", rounds=1, baselines=[],
                     **flags)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("json", [(), ("--json",)], ids=["table", "json"])
def test_without_a_torch_twin_there_is_nothing_to_measure_it_against(
    json: tuple[str, ...]
) -> None:
    """One sentence for the user, and not the traceback of a missing class."""
    done = cli("bench", "round", "--dataset", "planted:36", "--backbone", "distance", *json)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("privfedmm: bench round: backbone distance has no torch module to "
                           "compare with; give its entry a twin\n")
