"""GFMFR with associations: one more sum in the first round, one more term in the scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privacy import Ledger, PrivacyStack
from privfedmm.data import DATA_SEED, Dataset, PlantedShape, planted
from privfedmm.federation import Simulator, run_round
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.settings import (
    AlgorithmSettings,
    AssociationSettings,
    backbone_only,
)
from privfedmm.groupings import GroupSettings

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


def names(
    data: Dataset, settings: AlgorithmSettings, age: np.ndarray | None, blind: bool = False
) -> list[str]:
    views = FeatureViews({} if blind else data.features, data.num_items, settings)
    return [r.name for r in GFMFR(
        settings, data.train, views, 10, 0, train_age=age).releases]


def test_by_default_they_need_times_and_features(data: Dataset) -> None:
    age, settings = np.zeros(len(data.train.indices), dtype=np.int64), AlgorithmSettings()
    assert "associations" in names(data, settings, age)
    assert "associations" not in names(data, settings, None)
    asked_for = AlgorithmSettings(associations=AssociationSettings(weight=1.0))
    assert "associations" in names(data, asked_for, None)
    of_users = AlgorithmSettings(groups=GroupSettings(signal="user_vector"))
    assert "associations" not in names(data, of_users, age, blind=True)
    assert backbone_only(settings).associations.weight == 0.0
