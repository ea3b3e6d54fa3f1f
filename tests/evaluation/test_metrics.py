"""Metrics of several held-out items: against a slow oracle, scikit-learn, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from privfedmm.data import Rows
from privfedmm.evaluation import (
    METRICS,
    EvalProtocol,
    Places,
    ScoreError,
    cut_of,
    evaluate,
    from_arrays,
    metrics_from_ranks,
    names_of,
    to_arrays,
)

USERS, ITEMS = 5, 12


# Of a list of 0 and 1, with 1 for a held-out item; all of a user's held-out items are in it.
def slow_dcg(found: list[int], k: int) -> float:
    return sum(hit / np.log2(place + 1) for place, hit in enumerate(found[:k], 1))


def slow_map(found: list[int], k: int) -> float:
    at = [sum(found[:place]) / place for place, hit in enumerate(found[:k], 1) if hit]
    return sum(at) / min(k, sum(found))


def slow_mrr(found: list[int], k: int) -> float:
    return 1 / (found.index(1) + 1) if 1 in found[:k] else 0.0


SLOW: dict[str, Callable[[list[int], int], float]] = {
    "hr": lambda found, k: float(1 in found[:k]),
    "recall": lambda found, k: sum(found[:k]) / sum(found),
    "precision": lambda found, k: sum(found[:k]) / k,
    "ndcg": lambda found, k: slow_dcg(found, k) / slow_dcg(sorted(found, reverse=True), k),
    "map": slow_map,
    "mrr": slow_mrr,
}


class Drawn:
    """Scores and items of a few users: trained on, aside, validation and test, some empty."""

    def __init__(self, seed: int, values: int) -> None:
        rng = np.random.default_rng(seed)
        scores = rng.integers(0, values, (USERS, ITEMS)) if values else np.argsort(
            rng.random((USERS, ITEMS)), axis=1)
        self.scores = scores.astype(np.float32)
        # 0: a candidate that is nobody's. Everybody has one test item at least, but the first user.
        self.part = rng.choice(5, (USERS, ITEMS), p=[0.4, 0.15, 0.1, 0.15, 0.2])
        self.part[1:, 0] = 4
        self.part[0][self.part[0] == 4] = 0

    def rows(self, part: int) -> Rows:
        user, item = np.nonzero(self.part == part)
        return Rows.from_pairs(user, item, USERS)

    def judged(self, protocol: EvalProtocol, block: int) -> Places:
        found = evaluate(
            lambda users: self.scores[users], self.rows(1),
            {"validation": self.rows(3), "test": self.rows(4)}, protocol, block,
            aside=self.rows(2))
        return Places.of(found.ranks["test"])

    def list_of(self, user: int) -> list[int]:
        """Candidates from the best down; of equal ones the held-out items come last."""
        items = [i for i in range(ITEMS) if self.part[user, i] in (0, 4)]
        items.sort(key=lambda i: (-self.scores[user, i], self.part[user, i] == 4))
        return [int(self.part[user, i] == 4) for i in items]


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10_000), st.sampled_from([0, 1, 3]), st.integers(1, 6), st.integers(1, 20))
def test_every_metric_is_that_of_a_slow_count(
    seed: int, values: int, block: int, k: int
) -> None:
    """values: 3 different scores, so that ties abound; 1, all tie; 0, none do."""
    drawn = Drawn(seed, values)
    places = drawn.judged(EvalProtocol(), block)
    assert set(SLOW) == set(METRICS.names())
    for name, slow in SLOW.items():
        found = cut_of(f"{name}@{k}").per_user(places)
        assert found[0] == 0
        for user in range(1, USERS):
            assert found[user] == pytest.approx(slow(drawn.list_of(user), k)), name
        assert cut_of(f"{name}@{k}").mean(places) == pytest.approx(found[1:].mean())


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10_000), st.integers(1, 15))
def test_ndcg_and_map_are_those_of_scikit_learn(seed: int, k: int) -> None:
    """Where nothing ties: scikit-learn takes the mean over ties, not the worst."""
    drawn = Drawn(seed, 0)
    places = drawn.judged(EvalProtocol(), 2)
    for user in range(1, USERS):
        among = np.isin(drawn.part[user], (0, 4))
        truth, scores = (drawn.part[user] == 4)[among], drawn.scores[user][among]
        if len(truth) > 1:  # of one candidate scikit-learn has no opinion
            theirs = ndcg_score(truth[None].astype(int), scores[None], k=k)
            assert cut_of(f"ndcg@{k}").per_user(places)[user] == pytest.approx(theirs)
        theirs = average_precision_score(truth, scores)
        assert cut_of(f"map@{ITEMS}").per_user(places)[user] == pytest.approx(theirs)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 9))
def test_sampled_lists_hold_all_targets_and_some_others(seed: int, wanted: int, block: int) -> None:
    """Every target is in the list with no more others than were asked for, and no better one."""
    drawn = Drawn(seed, 3)
    full = drawn.judged(EvalProtocol(), 3)
    some = drawn.judged(EvalProtocol(wanted, seed=seed), block)
    assert (some.counts == full.counts).all() and (some.ranks <= full.ranks).all()
    assert (some.ranks <= some.nth + wanted).all() and (some.ranks >= some.nth).all()
    again = drawn.judged(EvalProtocol(wanted, seed=seed), USERS)
    assert (again.ranks == some.ranks).all()


def test_users_with_few_and_with_many_targets_are_ranked_alike() -> None:
    """From some number of targets on the rivals are sorted; ties count against them there too."""
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 30, (3, 400)).astype(np.float32)
    counts = [3, 60, 24]
    order = np.argsort(rng.random(scores.shape), axis=1)
    user = np.repeat(np.arange(3), counts)
    held = Rows.from_pairs(user, np.concatenate([order[u, :n] for u, n in enumerate(counts)]), 3)
    train = Rows.from_pairs(np.arange(3), order[:, -1], 3)
    found = evaluate(lambda users: scores[users], train, {"test": held}, EvalProtocol())
    places = found.ranks["test"]
    assert isinstance(places, Places) and places.counts.tolist() == counts
    for u, n in enumerate(counts):
        rivals = scores[u, order[u, n:-1]]
        slow = [place + int((rivals >= own).sum())
                for place, own in enumerate(sorted(scores[u, order[u, :n]], reverse=True), 1)]
        assert places.ranks[places.owner == u].tolist() == slow


def test_metrics_by_hand() -> None:
    """Two users: held-out items at 1, 3 and 6; at 2; and one without any."""
    places = Places(np.array([3, 1, 0]), np.array([1, 3, 6, 2], dtype=np.int32))
    two = {name: cut_of(f"{name}@5").per_user(places).tolist() for name in METRICS.names()}
    assert two["hr"] == [1, 1, 0] and two["mrr"] == [1, 0.5, 0]
    assert two["recall"] == pytest.approx([2 / 3, 1, 0])
    assert two["precision"] == pytest.approx([2 / 5, 1 / 5, 0])
    assert two["map"] == pytest.approx([(1 + 2 / 3) / 3, 1 / 2, 0])
    best = 1 + 1 / np.log2(3) + 1 / 2
    assert two["ndcg"] == pytest.approx([(1 + 1 / 2) / best, 1 / np.log2(3), 0])
    # More held-out items than the list is long: min(k, T).
    assert cut_of("map@2").per_user(places)[0] == pytest.approx(1 / 2)
    assert cut_of("ndcg@1").per_user(places)[0] == 1


def test_one_item_a_user_has_the_same_figures_in_both_forms() -> None:
    ranks = np.random.default_rng(0).integers(0, 80, 500).astype(np.int32)
    more = ("map@7", "mrr@7", "precision@7")
    assert metrics_from_ranks(ranks, more=more) == metrics_from_ranks(Places.of(ranks), more=more)
    reciprocal = cut_of("mrr@7").per_user(ranks)
    assert (cut_of("map@7").per_user(ranks) == reciprocal).all() and reciprocal.any()


def test_places_come_back_from_a_file_and_by_users() -> None:
    places = Places(np.array([2, 0, 1]), np.array([1, 4, 2], dtype=np.int32))
    one = np.array([3, 0], dtype=np.int32)
    back = from_arrays(to_arrays({"test": places, "validation": one}))
    found = back["test"]
    assert isinstance(found, Places) and back["validation"] is one
    assert (found.counts == places.counts).all() and (found.ranks == places.ranks).all()
    some = places[np.array([False, True, True])]
    assert some.counts.tolist() == [0, 1] and some.ranks.tolist() == [2] and len(some) == 2
    with pytest.raises(ScoreError, match="no user has a held-out item"):
        cut_of("map@3").mean(places[np.array([False, True, False])])


@pytest.mark.parametrize(("text", "sentence"), [
    ("ngdc@10", "no metric 'ngdc'; there are hr, ndcg, recall, precision, map, mrr"),
    ("ndcg", "at least 1: ndcg@10"), ("ndcg@0", "at least 1"), ("ndcg@-1", "at least 1"),
    ("ndcg@ten", "at least 1"), ("map@1.5", "at least 1"), ("", "there is no metric ''")])
def test_a_metric_that_is_none_gets_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        cut_of(text)


def test_names_have_one_spelling_and_stand_once() -> None:
    assert names_of([" NDCG@10", "recall@020", "ndcg@10"]) == ("ndcg@10", "recall@20")
