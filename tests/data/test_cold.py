"""Cold items: nothing of them in training, and content alone ranks them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfedmm.base.settings import LocalSettings
from privfedmm.config import resolve
from privfedmm.data import DATA_SEED, DataError, PlantedShape, hold_out_items, load, planted
from privfedmm.data.types import Rows
from privfedmm.devices.samples import draw_samples, sample_counts, warm_items
from privfedmm.evaluation import cold_ranks, gains, paired_interval
from privfedmm.federation import Simulator, run_round
from privfedmm.runs.session import Session

DATA = planted(DATA_SEED, PlantedShape(users=80, items=60, train_items=12))


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_no_cold_item_is_trained_and_every_target_is_the_users_own(share: float) -> None:
    cut = hold_out_items(DATA, share, 3)
    assert cut.cold is not None and cut.cold_target is not None
    assert cut.cold.sum() == round(share * 60)
    assert not cut.cold[cut.train.indices].any()
    for user in range(80):
        own = {*DATA.train.row(user), DATA.validation[user], DATA.test[user]}
        target = cut.cold_target[user]
        assert target in own if target >= 0 else not cut.cold[list(own)].any()
        assert set(cut.train.row(user)) == {i for i in DATA.train.row(user) if not cut.cold[i]}
    for held in (cut.validation, cut.test):
        assert not cut.cold[held[held >= 0]].any()
    again = hold_out_items(DATA, share, 3)
    assert again.cold is not None and (again.cold == cut.cold).all()
    assert cut.sha256 != DATA.sha256


def test_ages_count_what_is_left(tmp_path: Any) -> None:
    rows = [f"u{u},i{(3 * u + k) % 20},{k}" for u in range(15) for k in range(9)]
    (tmp_path / "interactions.csv").write_text(
        "user_id,item_id,timestamp\n" + "\n".join(rows) + "\n", "utf-8")
    data = load(str(tmp_path), k_core=0, seed=0)
    cut = hold_out_items(data, 0.2, 1)
    assert cut.train_age is not None and data.train_age is not None
    for user in range(15):
        part = slice(cut.train.indptr[user], cut.train.indptr[user + 1])
        assert sorted(cut.train_age[part]) == list(range(part.stop - part.start))
        old = dict(zip(data.train.row(user).tolist(),
                       data.train_age[data.train.indptr[user]:data.train.indptr[user + 1]],
                       strict=True))
        before = [old[i] for i in cut.train.row(user).tolist()]
        assert (np.argsort(before) == np.argsort(cut.train_age[part])).all()


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_shares_that_leave_nothing_are_refused(share: float) -> None:
    with pytest.raises(DataError, match="cold_items"):
        hold_out_items(DATA, share, 0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_negatives_are_warm_unseen_and_distinct(seed: int) -> None:
    cut = hold_out_items(DATA, 0.25, seed % 7)
    assert cut.cold is not None
    warm, local, ids = warm_items(cut.train, cut.cold), LocalSettings(), np.arange(80)
    assert warm is not None
    drawn = draw_samples(cut.train, ids, 60, local, seed, 2, warm)
    counts = sample_counts(cut.train, len(warm.items), local.negatives_per_positive)
    assert (drawn.mask.sum(1).numpy() == counts).all()
    for row in range(80):
        used = drawn.items[row][drawn.mask[row] > 0].numpy()
        assert len(set(used)) == len(used)
        assert not cut.cold[used].any()
        negative = drawn.items[row][(drawn.mask[row] > 0) & (drawn.labels[row] == 0)].numpy()
        assert not np.isin(negative, cut.train.row(row)).any()


def test_cold_ranks_against_a_loop() -> None:
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 5, (30, 20)).astype(np.float32)
    cold = rng.random(20) < 0.4
    target = np.where(rng.random(30) < 0.8, rng.choice(np.flatnonzero(cold), 30), -1)
    ranks = cold_ranks(lambda ids: scores[ids], cold, target, block=7)
    for user in range(30):
        want = 0 if target[user] < 0 else sum(
            scores[user, i] >= scores[user, target[user]] for i in np.flatnonzero(cold))
        assert ranks[user] == want


@pytest.mark.parametrize("method", ["gfmfr", "taste"])
def test_content_ranks_cold_items_above_chance(method: str) -> None:
    """The planted topics decide taste, so cold items are ranked by content.

    The interval is over users; a ranker at chance passes with a probability of 2.5%.
    """
    cut = hold_out_items(planted(DATA_SEED, PlantedShape()), 0.2, 0)
    assert cut.cold is not None and cut.cold_target is not None
    flags = {"method": method, **({"rounds": 12} if method == "gfmfr" else {})}
    session = Session.start(resolve(None, flags), cut)
    for number in range(session.planned.rounds):
        session.state, _ = run_round(session.algorithm, Simulator(), session.stack, session.state,
                                     session.clients, cut.num_users, number)
    ranks = cold_ranks(
        lambda ids: session.algorithm.scores(session.state, session.clients, ids).numpy(),
        cut.cold, cut.cold_target)
    chance = cold_ranks(
        lambda ids: np.random.default_rng(1).random((300, 240))[ids], cut.cold, cut.cold_target)
    have = ranks > 0
    _, low, _ = paired_interval(gains(ranks[have], 20)[None], gains(chance[have], 20)[None], 0,
                                draws=2000)
    assert low > 0


def test_no_cold_item_means_no_other_sampling() -> None:
    assert warm_items(Rows(np.array([0, 1]), np.array([0], np.int32)), None) is None
