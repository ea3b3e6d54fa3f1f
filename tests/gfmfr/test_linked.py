"""GFMFR with associations: one more sum in the first round, one more term in the scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privacy import Ledger, PrivacyStack
from privfedmm.data import DATA_SEED, Dataset, PlantedShape, planted
from privfedmm.federation import Simulator, run_round
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.views import FeatureViews
from privfedmm.settings import AlgorithmSettings, AssociationSettings, backbone_only

USERS = 40


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted(DATA_SEED, PlantedShape(users=USERS, items=60, train_items=8))


def method(data: Dataset, weight: float) -> GFMFR:
    settings = AlgorithmSettings(associations=AssociationSettings(weight=weight, rank=6))
    views = FeatureViews(data.features, data.num_items, settings)
    return GFMFR(settings, data.train, views, 10, 0, train_age=data.train_age)


def test_the_first_round_sums_what_every_client_uploads(data: Dataset) -> None:
    ours, plain = method(data, 1.0), method(data, 0.0)
    assert [r.name for r in ours.releases if r.rounds] == ["associations"]
    assert [r for r in ours.releases if not r.rounds] == list(plain.releases)
    stacks = [PrivacyStack(m.releases, Ledger()) for m in (ours, plain)]
    states = [m.initial_state() for m in (ours, plain)]
    clients = [m.initial_clients() for m in (ours, plain)]
    for round_ in range(2):
        states = [run_round(m, Simulator(), stack, state, own, USERS, round_)[0]
                  for m, stack, state, own in zip(
                      (ours, plain), stacks, states, clients, strict=True)]
    found, without = states
    assert found.associations is not None and without.associations is None
    # Training is the same; only scores differ, by the term that explains itself.
    torch.testing.assert_close(found.items, without.items)
    ids = np.arange(7)
    parts = ours.explain(found, clients[0], ids)
    torch.testing.assert_close(torch.stack(list(parts.values())).sum(0),
                               ours.scores(found, clients[0], ids))
    torch.testing.assert_close(
        ours.scores(found, clients[0], ids) - parts["associations"],
        plain.scores(without, clients[1], ids), rtol=1e-4, atol=1e-4)
    assert float(parts["associations"].std(dim=1).mean()) == pytest.approx(1.0, abs=0.02)
    saved = ours.to_saved(found, clients[0])
    again, _ = ours.from_saved(saved)
    assert again.associations is not None
    assert torch.equal(again.associations, found.associations)


def test_without_features_there_are_no_associations(data: Dataset) -> None:
    settings = AlgorithmSettings(associations=AssociationSettings(weight=1.0))
    with pytest.raises(ValueError, match="need item features"):
        GFMFR(settings, data.train, FeatureViews({}, 60, settings), 10, 0)
    bare = backbone_only(settings)
    assert bare.associations.weight == 0.0
