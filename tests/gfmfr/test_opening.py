"""GFMFR that begins with popularity and associations: its releases, its training, its plans."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import privfedmm as pf
from privacy import Ledger, PrivacyStack
from privfedmm.backbones import build as build_backbone
from privfedmm.base.errors import UserError
from privfedmm.base.settings import LocalSettings
from privfedmm.data import DATA_SEED, Dataset, PlantedShape, planted
from privfedmm.federation import Simulator, run_round
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.client import Local, rates, train
from privfedmm.gfmfr.method import GFMFR_METHOD
from privfedmm.gfmfr.planner import FEW, plan_rounds, portions
from privfedmm.gfmfr.settings import AlgorithmSettings, opened_updates
from privfedmm.methods.entry import Build, Public

USERS, ROUNDS = 40, 5


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted(DATA_SEED, PlantedShape(users=USERS, items=60, train_items=8))


def opened() -> AlgorithmSettings:
    return AlgorithmSettings().model_copy(update=opened_updates(AlgorithmSettings()))


def method(data: Dataset, rank: int = 6) -> GFMFR:
    settings = opened()
    opening = settings.opening.model_copy(update={"association_rank": rank,
                                                  "association_weight": 0.5})
    found = GFMFR_METHOD.build(Build(
        settings=settings.model_copy(update={"opening": opening}), data=data, rounds=ROUNDS,
        seed=0))
    assert isinstance(found, GFMFR)
    return found


def test_each_round_releases_what_belongs_to_it(data: Dataset) -> None:
    ours = method(data)
    by_round = [[r.name for r in ours.releases if r.in_round(t)] for t in range(ROUNDS)]
    assert by_round[:2] == [["item_counts"], ["associations"]]
    assert by_round[2] == by_round[-1] and by_round[2][0] == "item_update"
    alone = method(data, rank=0)
    assert [r.name for r in alone.releases if r.in_round(0)] == ["item_counts"]
    assert "item_update" in [r.name for r in alone.releases if r.in_round(1)]


def test_a_run_opens_then_trains_and_explains_itself(data: Dataset) -> None:
    ours = method(data)
    stack, clients, state = PrivacyStack(ours.releases, Ledger()), ours.initial_clients(), (
        ours.initial_state())
    ids = np.arange(7)
    for round_ in range(ROUNDS):
        state, _ = run_round(ours, Simulator(), stack, state, clients, USERS, round_)
        parts = dict(ours.explain(state, clients, ids))
        assert bool(parts["trained tables"].any()) == (round_ >= 2)
        torch.testing.assert_close(
            torch.stack(torch.broadcast_tensors(*parts.values())).sum(0),
            ours.scores(state, clients, ids), rtol=1e-4, atol=1e-4)
    assert state.opened is not None and clients.opened is not None
    counts = np.bincount(data.train.indices, minlength=data.num_items)
    assert np.corrcoef(state.opened.counts.numpy(), counts)[0, 1] > 0.99
    again, theirs = ours.from_saved(ours.to_saved(state, clients))
    assert torch.equal(ours.scores(again, theirs, ids), ours.scores(state, clients, ids))
    assert again.opened is not None and again.opened is not state.opened


def test_what_is_known_at_an_item_is_what_is_known_of_all(data: Dataset) -> None:
    ours = method(data)
    stack, clients, state = PrivacyStack(ours.releases, Ledger()), ours.initial_clients(), (
        ours.initial_state())
    for round_ in range(2):
        state, _ = run_round(ours, Simulator(), stack, state, clients, USERS, round_)
    ids, items = np.arange(5), torch.randint(0, data.num_items, (5, 9))
    at = ours._opening.offset(state.opened, clients.opened, ids, items)
    every = torch.arange(data.num_items).expand(5, -1)
    whole = ours._opening.offset(state.opened, clients.opened, ids, every)
    assert at is not None and whole is not None
    torch.testing.assert_close(at, whole.gather(1, items))
    # Log odds among drawn items: of all items the chances sum to 1.
    negatives = LocalSettings().negatives_per_positive
    chance = (whole - math.log(data.num_items / negatives)).exp().sum(1)
    torch.testing.assert_close(chance, torch.ones(5), rtol=1e-4, atol=1e-4)


def test_an_offset_is_a_bias_that_is_not_trained() -> None:
    """The same steps as with the offset in a device's own copy of the biases."""
    g = torch.Generator().manual_seed(0)
    backbone, settings = build_backbone("mf", 4), LocalSettings(epochs=3)
    user, rows, offset = (torch.randn(*size, generator=g) for size in ((3, 4), (3, 6, 5), (3, 6)))
    labels, mask = (torch.rand(3, 6, generator=g) < 0.4).float(), torch.ones(3, 6)
    rate = rates(settings, 0, 60)
    ours = Local(user.clone(), rows.clone(), None, {})
    train(backbone, ours, labels, mask, None, settings, rate, offset)
    biased = rows.clone()
    biased[:, :, 4] += offset
    theirs = Local(user.clone(), biased, None, {})
    train(backbone, theirs, labels, mask, None, settings, rate)
    theirs.shared[:, :, 4] -= offset
    torch.testing.assert_close(ours.user, theirs.user)
    torch.testing.assert_close(ours.shared, theirs.shared)


def test_every_user_has_the_same_say(data: Dataset) -> None:
    ours = method(data, rank=0)
    clients, state = ours.initial_clients(), replace(ours.initial_state(), round=1)
    uploads, _ = ours.local(ours.plan(state), np.arange(USERS), clients)
    norms = uploads["item_update"].squared_norms().sqrt()
    torch.testing.assert_close(norms, torch.ones(USERS, dtype=norms.dtype), rtol=1e-5, atol=1e-5)


# The planner --------------------------------------------------------------------------------------


def public(users: int, items: int, whole: float, rounds: int = 42) -> Public:
    """whole: the noise of a release that is given all of the budget."""
    return Public(users, items, whole * math.sqrt(rounds), rounds)


def test_without_noise_all_rounds_are_played() -> None:
    found = plan_rounds(opened(), public(943, 1300, 0.0))
    assert found.rounds == 42 and found.settings.opening.training_rounds == 40
    assert found.settings.opening.association_weight == 1.0
    assert found.settings.model.dim == AlgorithmSettings().model.dim


@given(st.integers(50, 10**6), st.integers(50, 10**5), st.floats(0.1, 1000))
def test_plans_follow_public_figures_alone(users: int, items: int, whole: float) -> None:
    found = plan_rounds(opened(), public(users, items, whole))
    s = found.settings.opening
    assert s.training_rounds in (0, FEW) and found.rounds == (
        1 + bool(s.association_rank) + s.training_rounds)
    assert (s.training_rounds > 0) == (users / (whole * items) >= 1)
    assert s.association_weight is not None and 0 < s.association_weight < 1
    more = plan_rounds(opened(), public(10 * users, items, whole)).settings.opening
    assert more.association_weight is not None
    assert more.association_weight > s.association_weight
    split = portions(found.settings, found.rounds)
    assert not split or (len(split) == found.rounds and sum(split) == pytest.approx(1.0))
    assert f"{s.training_rounds} rounds of training" in found.told


def test_a_plan_never_takes_more_rounds_than_there_are() -> None:
    found = plan_rounds(opened(), public(10**6, 300, 1.0, rounds=3))
    assert found.rounds == 3 and found.settings.opening.training_rounds == 1


# In a run -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [2.0, 64.0])
def test_a_private_run_spends_as_it_plans(epsilon: float, tmp_path: Path) -> None:
    run = pf.train("planted:120", method="gfmfr", dp_epsilon=epsilon, dp_delta=1e-4,
                   noise="simulation", seed=1, baselines=[], out=tmp_path / "run",
                   settings={"mix.on": False})
    privacy = run.record["privacy"]
    assert privacy["epsilon_spent"] == pytest.approx(epsilon, rel=1e-3)
    assert "rounds of training" in privacy["settings_chosen"]
    audit = run.audit(parts=("budget",))
    assert audit.passed, audit
    if epsilon > 10:
        first, *_, last = privacy["noise_multipliers"]
        assert first < last and len(privacy["noise_multipliers"]) == privacy["rounds"]
    else:
        assert privacy["noise_multipliers"] == [] and privacy["rounds"] <= 2


def test_what_goes_with_what_is_counted_once() -> None:
    asked = {"algorithm.associations.weight": 1.5}
    with pytest.raises(UserError, match=r"associations\.weight: the opening counts"):
        pf.train("planted:60", rounds=1, baselines=[], settings=asked)
    alone = {**asked, "algorithm.opening.association_rank": 0, "mix.on": False}
    run = pf.train("planted:60", rounds=2, baselines=[], settings=alone)
    assert [r["name"] for r in run.record["privacy"]["releases"]].count("associations") == 1


def test_without_features_a_plan_counts_no_components_of_them() -> None:
    run = pf.train("planted:400", method="gfmfr", dp_epsilon=64.0, noise="simulation", rounds=3,
                   modalities="none", baselines=[])
    told, privacy = run.record["privacy"]["settings_chosen"], run.record["privacy"]
    assert "popularity and no associations" in told
    assert "associations" not in str(privacy["releases"])
    assert privacy["rounds"] == privacy["rounds_planned"]


def test_an_opening_beside_noise_on_interactions_is_refused() -> None:
    with pytest.raises(UserError, match=r"opening\.on: unit interaction"):
        pf.train("planted:60", method="gfmfr", dp_epsilon=4.0, unit="interaction", rounds=1,
                 settings={"algorithm.opening.on": True}, baselines=[])
