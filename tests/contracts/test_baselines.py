"""Every built-in baseline under the contract, and one of somebody else's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from privfedmm.base.registry import UnknownName
from privfedmm.baselines import BASELINES, Baseline, baseline_metrics
from privfedmm.data import Dataset, load
from privfedmm.evaluation import EvalProtocol, Scorer
from privfedmm.testing.baselines import BaselineContract


class TestRandom(BaselineContract):
    baseline = BASELINES.get("random")

    def test_the_seed_matters(self) -> None:
        data = self.data()
        (_, one), (_, two) = (next(iter(self.scorers(data, seed))) for seed in (0, 1))
        assert (one(np.arange(3)) != two(np.arange(3))).any()


class TestPopularity(BaselineContract):
    baseline = BASELINES.get("popularity")


class TestPublicFeatures(BaselineContract):
    baseline = BASELINES.get("public_features")


class TestPublicText(BaselineContract):
    baseline = BASELINES.get("public_text")


class TestPublicImage(BaselineContract):
    baseline = BASELINES.get("public_image")


class TestPopularityProfile(BaselineContract):
    baseline = BASELINES.get("popularity_profile")


class TestEase(BaselineContract):
    baseline = BASELINES.get("ease")


class TestSlit(BaselineContract):
    baseline = BASELINES.get("slit")


class TestIals(BaselineContract):
    baseline = BASELINES.get("ials")


def _latest(data: Dataset, seed: int) -> Iterable[tuple[str, Scorer]]:
    """The number of times that an item is a user's last one, tilted by a weight."""
    assert data.train_age is not None
    last = np.bincount(data.train.indices[data.train_age == 0], minlength=data.num_items)
    for weight in (1.0, -1.0):
        yield f"weight {weight:g}", partial(_alike, (weight * last).astype(np.float32))


def _alike(row: np.ndarray, users: np.ndarray) -> np.ndarray:
    return np.tile(row, (len(users), 1))


LATEST = Baseline(
    name="toy_latest",
    summary="how often an item is a user's last one",
    reference="this test",
    sees="the last item of every user",
    candidates=_latest,
    needs_times=True,
)


class TestToy(BaselineContract):
    baseline = LATEST


@pytest.fixture
def registered() -> Iterator[Baseline]:
    yield BASELINES.register(LATEST)
    BASELINES.forget(LATEST.name)


def test_a_registered_baseline_is_compared_like_ours(registered: Baseline) -> None:
    data = load("planted:40", k_core=0, seed=0)
    timed = replace(data, train_age=np.concatenate(
        [np.arange(count)[::-1] for count in data.train.counts]))
    lines = baseline_metrics(timed, ["popularity", "toy_latest"], 0, EvalProtocol())
    assert list(lines) == ["popularity", "toy_latest"]
    assert lines["toy_latest"].keys() == lines["popularity"].keys() | {"chosen_on_validation"}
    assert lines["toy_latest"]["server_sees"] == "the last item of every user"
    assert list(baseline_metrics(data, ["toy_latest"], 0, EvalProtocol())) == []


def test_an_unknown_baseline_lists_what_there_is(registered: Baseline) -> None:
    data = load("planted:40", k_core=0, seed=0)
    with pytest.raises(UnknownName, match=r"unknown baseline 'oracle'; known are random, .*toy_"):
        baseline_metrics(data, ["oracle"], 0, EvalProtocol())


def test_the_contract_finds_a_baseline_that_reads_the_test_items() -> None:
    def peek(data: Dataset, seed: int) -> Iterable[tuple[str, Scorer]]:
        def score(users: np.ndarray) -> np.ndarray:
            out = np.zeros((len(users), data.num_items), dtype=np.float32)
            out[np.arange(len(users)), data.test[users]] = 1
            return out

        yield "", score

    class Peeking(BaselineContract):
        baseline = replace(LATEST, candidates=peek)

    with pytest.raises(AssertionError):
        Peeking().test_held_out_items_are_not_read()


def test_the_contract_finds_scores_that_depend_on_the_block() -> None:
    def centred(data: Dataset, seed: int) -> Iterable[tuple[str, Scorer]]:
        def score(users: np.ndarray) -> np.ndarray:
            scores = np.outer(users, np.arange(data.num_items)).astype(np.float32)
            return scores - scores.mean(0)

        yield "", score

    class Centred(BaselineContract):
        baseline = replace(LATEST, candidates=centred)

    with pytest.raises(AssertionError):
        Centred().test_a_user_alone_has_the_scores_of_a_block()
