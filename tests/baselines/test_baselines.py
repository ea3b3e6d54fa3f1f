"""The closed forms against their textbook equations, and figures on real data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from privfedmm.baselines import baseline_metrics, ease, popularity, slit
from privfedmm.data import DATA_SEED, Dataset, PlantedShape, Rows, load, planted
from privfedmm.evaluation import EvalProtocol


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Items in an order of time that is drawn for each user."""
    whole = planted(DATA_SEED, PlantedShape(users=60, items=80, train_items=10))
    rng = np.random.default_rng(0)
    age = np.concatenate([rng.permutation(count) for count in whole.train.counts])
    return replace(whole, train_age=age)


def test_ease_is_the_textbook_solution() -> None:
    """Steck 2019: B minimises |X - XB|^2 + ridge |B|^2 with a zero diagonal, column by column."""
    rng = np.random.default_rng(0)
    dense = (rng.random((30, 6)) < 0.4).astype(float)
    user, item = np.nonzero(dense)
    score = ease(Rows.from_pairs(user, item, 30), 6, ridge=2.0)
    for column in range(6):
        others = [i for i in range(6) if i != column]
        x, y = dense[:, others], dense[:, column]
        weights = np.linalg.solve(x.T @ x + 2.0 * np.eye(5), x.T @ y)
        np.testing.assert_allclose(score(np.arange(30))[:, column], x @ weights, atol=1e-5)


def test_slit_is_the_ridge_regression_of_the_next_item() -> None:
    """Choi et al. 2021, with one item as target: B minimises |T - SB|^2 + ridge |B|^2."""
    histories = {0: [3, 0, 4], 1: [2], 3: [1, 4, 0, 2]}  # oldest first; user 2 has none
    user = np.repeat(list(histories), [len(h) for h in histories.values()])
    item = np.concatenate(list(histories.values()))
    age = np.concatenate([np.arange(len(h))[::-1] for h in histories.values()])
    order = np.lexsort((item, user))  # rows hold items ascending
    train = Rows.from_pairs(user, item, 4)
    np.testing.assert_array_equal(train.indices, item[order])
    source, target = [], []
    for history in histories.values():
        for at in range(len(history)):
            row, goal = np.zeros(5), np.zeros(5)
            for back, earlier in enumerate(reversed(history[:at])):
                row[earlier] += 0.5 ** (back / 2)
            goal[history[at]] = 1
            source.append(row)
            target.append(goal)
    s, t = np.array(source), np.array(target)
    weights = np.linalg.solve(s.T @ s + 1.5 * np.eye(5), s.T @ t)
    (score,) = slit(train, 5, age[order], half_life=2.0, ridges=[1.5])
    now = np.array([0.5 ** (1 / 2), 0, 0, 0.5 ** (2 / 2), 1.0])  # user 0, its last item whole
    np.testing.assert_allclose(score(np.array([0]))[0], now @ weights, atol=1e-5)
    np.testing.assert_array_equal(score(np.array([2]))[0], np.zeros(5))


def test_popularity_counts() -> None:
    train = Rows.from_pairs(np.array([0, 0, 1]), np.array([1, 2, 2]), 2)
    np.testing.assert_array_equal(popularity(train, 3)(np.array([0]))[0], [0, 1, 2])


def test_a_data_set_without_features_or_times_leaves_their_lines_out(data: Dataset) -> None:
    bare = replace(data, features={})
    lines = baseline_metrics(bare, ["popularity", "public_features"], 0, EvalProtocol())
    assert list(lines) == ["popularity"]
    timeless = replace(data, train_age=None)
    assert list(baseline_metrics(timeless, ["slit"], 0, EvalProtocol())) == []
    with pytest.raises(ValueError, match="unknown baseline 'oracle'"):
        baseline_metrics(data, ["oracle"], 0, EvalProtocol())


def test_real_yardsticks(real_data: Path) -> None:
    """Figures measured independently of this code, leave-one-out by time, full ranking."""
    data = load(str(real_data / "ml100k_posters"), k_core=5, seed=0)
    names = ["random", "popularity", "public_text", "ease"]
    lines = baseline_metrics(data, names, 0, EvalProtocol())
    ndcg = {n: lines[n]["test"]["ndcg@50"] for n in names}  # type: ignore[index]
    hr = {n: lines[n]["test"]["hr@50"] for n in names}  # type: ignore[index]
    assert ndcg["popularity"] == pytest.approx(0.070, abs=0.001)
    assert hr["popularity"] == pytest.approx(0.204, abs=0.001)
    assert ndcg["public_text"] == pytest.approx(0.051, abs=0.001)
    assert hr["public_text"] == pytest.approx(0.184, abs=0.001)
    assert ndcg["ease"] == pytest.approx(0.124, abs=0.003)
    assert hr["ease"] == pytest.approx(0.382, abs=0.006)
    # 50 of about 1,190 candidates; binomial standard error .0065 at 943 users.
    assert hr["random"] == pytest.approx(0.042, abs=4 * 0.0065)
