from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfedmm.data import Rows
from privfedmm.evaluation import (
    BestRound,
    EvalProtocol,
    Ranks,
    ScoreError,
    evaluate,
    gains,
    hits,
    metrics_from_ranks,
    paired_interval,
)


def single(ranks: Ranks) -> np.ndarray:
    """Ranks of users who have one held-out item at most: an array, as ever."""
    assert isinstance(ranks, np.ndarray)
    return ranks


def test_golden_ranks_and_metrics(golden: Path) -> None:
    """The reference ranks a target among given others; here they are a user's candidates."""
    wanted = json.loads((golden / "small.json").read_text())["metrics"]
    users = len(wanted["target_scores"])
    others = [wanted["other_scores"][str(u)] for u in range(users)]
    scores = np.array([[t, *o, -9.0] for t, o in zip(wanted["target_scores"], others, strict=True)])
    last = scores.shape[1] - 1
    train = Rows.from_pairs(np.arange(users), np.full(users, last), users)
    result = evaluate(
        lambda u: scores[u], train, {"test": np.zeros(users, dtype=np.int64)}, EvalProtocol()
    )
    assert single(result.ranks["test"]).tolist() == wanted["ranks"]
    metrics = metrics_from_ranks(result.ranks["test"], (wanted["k"],))
    assert metrics["hr@3"] == pytest.approx(wanted["hit_ratio"])
    assert metrics["ndcg@3"] == pytest.approx(wanted["ndcg"])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_ranks_are_those_of_a_slow_count(seed: int, block: int) -> None:
    """Scores from four values, so ties abound; some users lack a target."""
    rng = np.random.default_rng(seed)
    users, items = 6, 9
    scores = rng.integers(0, 4, (users, items)).astype(np.float32)
    order = np.argsort(rng.random((users, items)), axis=1)
    train = Rows.from_pairs(np.repeat(np.arange(users), 3), order[:, :3].ravel(), users)
    targets = {"validation": order[:, 3].copy(), "test": order[:, 4].copy()}
    for target in targets.values():
        target[rng.random(users) < 0.2] = -1
    result = evaluate(lambda u: scores[u], train, targets, EvalProtocol(), block=block)
    for name, other in (("validation", "test"), ("test", "validation")):
        for user in range(users):
            target = targets[name][user]
            if target < 0:
                assert single(result.ranks[name])[user] == 0
                continue
            out = {*order[user, :3].tolist(), int(targets[other][user]), int(target)}
            rivals = [i for i in range(items) if i not in out]
            rank = 1 + sum(scores[user, i] >= scores[user, target] for i in rivals)
            assert single(result.ranks[name])[user] == rank


def test_a_score_that_is_no_number_names_the_user() -> None:
    scores = np.zeros((3, 4), dtype=np.float32)
    scores[1, 2] = np.nan
    train = Rows.from_pairs(np.arange(3), np.zeros(3, dtype=int), 3)
    with pytest.raises(ScoreError, match="user 1"):
        evaluate(lambda u: scores[u], train, {"test": np.ones(3, dtype=int)}, EvalProtocol())


def test_sampled_ranking_is_named_and_reproducible() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((20, 50)).astype(np.float32)
    train = Rows.from_pairs(np.arange(20), np.zeros(20, dtype=int), 20)
    targets = {"test": np.full(20, 7)}
    protocol = EvalProtocol(sampled_negatives=10, seed=3)
    one, two, full = (
        single(evaluate(lambda u: scores[u], train, targets, how, block=block).ranks["test"])
        for how, block in ((protocol, 512), (protocol, 3), (EvalProtocol(), 512)))
    assert (one == two).all() and one.max() <= 11 and (one <= full).all()
    assert protocol.ranking == "sampled-10"
    assert EvalProtocol().ranking == "full"


def test_metrics_of_known_ranks() -> None:
    metrics = metrics_from_ranks(np.array([1, 3, 11, 60, 0]))
    assert metrics["hr@10"] == metrics["recall@10"] == 0.5
    assert metrics["ndcg@10"] == pytest.approx((1 + 0.5) / 4)
    assert metrics["hr@20"] == 0.75
    with pytest.raises(ScoreError, match="no user"):
        metrics_from_ranks(np.zeros(3))


def test_paired_interval_finds_a_gain_and_no_gain() -> None:
    rng = np.random.default_rng(1)
    ranks = rng.integers(1, 80, (4, 300))
    base = gains(ranks, 50)
    assert paired_interval(base, base, seed=0, draws=200) == (0, 0, 0)
    mean, low, high = paired_interval(gains(np.maximum(ranks - 5, 1), 50), base, 0, draws=500)
    assert 0 < low < mean < high
    assert hits(ranks, 50).mean() == pytest.approx((ranks <= 50).mean())


def test_paired_interval_covers_what_it_should() -> None:
    """100 repetitions of a true difference of .1: 95% coverage gives >= 87 but for 1 in 1,000."""
    rng = np.random.default_rng(2)
    covered = 0
    for repetition in range(100):
        difference = 0.1 + rng.normal(0, 0.3, 200) + rng.normal(0, 0.3, (5, 200))
        _, low, high = paired_interval(difference, np.zeros_like(difference), repetition, 300)
        covered += low <= 0.1 <= high
    assert covered >= 87


def test_best_round_keeps_the_first_best_and_runs_out_of_patience() -> None:
    best = BestRound(patience=2)
    assert [best.better(v, r) for r, v in enumerate([0.1, 0.3, 0.3])] == [True, True, False]
    assert not best.stop
    best.better(0.2, 3)
    assert best.stop and best.round == 1
    assert BestRound(**vars(best)) == best
    assert not BestRound(patience=0, waited=99).stop
