"""Associations against a loop over users and items, and what shrinking leaves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from privfedmm.data.types import Rows
from privfedmm.devices.associations import Associations, Regressed, regressed, shrunken, space
from privfedmm.statistics import StatisticsSettings, public_rank

ITEMS, RANK, USERS, HALF_LIFE = 30, 5, 9, 1.5


def problem(
    times: bool, kind: type[Associations] = Associations
) -> tuple[Associations, torch.Tensor, list[np.ndarray], torch.Tensor]:
    """The object, popularity, each user's items oldest first, and points in the space."""
    rng = np.random.default_rng(4)
    histories = [rng.choice(ITEMS, size, replace=False) for size in rng.integers(2, 12, USERS)]
    histories[3] = histories[3][:1]
    indptr = np.concatenate([[0], np.cumsum([len(h) for h in histories])])
    indices, ages = [], []
    for history in histories:
        order = np.argsort(history)
        indices.append(history[order])
        ages.append((len(history) - 1 - np.arange(len(history)))[order])
    components = torch.from_numpy(rng.normal(size=(ITEMS, RANK))).float()
    counts = torch.from_numpy(rng.uniform(1, 20, ITEMS)).float()
    train = Rows(indptr, np.concatenate(indices).astype(np.int32))
    age = np.concatenate(ages).astype(np.int32) if times else None
    return (kind(components, train, age, HALF_LIFE), counts, histories,
            space(components, counts))


def pairs(
    points: torch.Tensor, history: np.ndarray, times: bool
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each item that has others before it, and the direction of those."""
    out = []
    for place, item in enumerate(history):
        if times:
            others = [(points[o], 0.5 ** ((place - 1 - k) / HALF_LIFE))
                      for k, o in enumerate(history[:place])]
        else:
            others = [(points[o], 1.0) for o in history if o != item]
        if others:
            before = sum(weight * point for point, weight in others)
            assert isinstance(before, torch.Tensor)
            out.append((points[item], before / before.norm()))
    return out


def naive(points: torch.Tensor, history: np.ndarray, times: bool) -> torch.Tensor:
    total = torch.zeros(RANK, RANK)
    for item, before in pairs(points, history, times):
        total += torch.outer(item, before)
    return total / total.norm() if len(history) > 1 else total


@pytest.mark.parametrize("times", [True, False])
def test_an_upload_is_the_loop_over_a_users_items(times: bool) -> None:
    ours, counts, histories, points = problem(times)
    ids = np.array([7, 3, 0, 5])
    found = ours.upload(ids, counts)
    for row, user in zip(found, ids, strict=True):
        # Items of more than ten half-lives ago weigh under a thousandth, and are left out.
        torch.testing.assert_close(row, naive(points, histories[user], times),
                                   rtol=5e-3, atol=5e-3)
    assert float(found[1].abs().max()) == 0.0
    assert torch.allclose(found[[0, 2, 3]].flatten(1).norm(dim=1), torch.ones(3))
    torch.testing.assert_close(ours.upload(ids[:1], counts), found[:1])


@pytest.mark.parametrize("times", [True, False])
def test_what_is_regressed_is_the_ridge_regression_of_items_on_those_before(times: bool) -> None:
    ours, counts, histories, points = problem(times, Regressed)
    found = ours.upload(np.arange(USERS), counts)
    assert found.shape == (USERS, *ours.release(0).shape)
    # Every user counts alike: rows of the regression weigh 1 over the number of the user's items.
    items, before, weight = [], [], []
    for history in histories:
        for item, direction in pairs(points, history, times):
            items.append(item)
            before.append(direction)
            weight.append(1 / len(history))
    x, c, w = torch.stack(items), torch.stack(before), torch.tensor(weight)[:, None]
    gram = c.T @ (w * c)
    ridge = 0.3 * float(gram.trace()) / RANK
    expected = torch.linalg.solve(gram + ridge * torch.eye(RANK), c.T @ (w * x)).T
    torch.testing.assert_close(regressed(found.sum(0), 0.3), expected, rtol=2e-2, atol=2e-2)


def test_a_regression_bears_totals_that_noise_has_bent() -> None:
    g = torch.Generator().manual_seed(2)
    total = torch.stack([torch.randn(6, 6, generator=g), torch.diag(torch.tensor(
        [5.0, 4.0, 3.0, 2.0, 1.0, -0.5]))])
    bent = total.clone()
    bent[1, 0, 3] += 0.2
    bent[1, 3, 0] -= 0.2  # as far from symmetric as rounding leaves it: no part of a variance
    torch.testing.assert_close(regressed(bent, 1.0), regressed(total, 1.0))
    assert float(regressed(total, 1.0).norm()) < float(total[0].norm())
    assert torch.equal(regressed(torch.zeros(2, 3, 3), 1.0), torch.zeros(3, 3))


@pytest.mark.parametrize("times", [True, False])
def test_scores_are_standardised_products_with_what_came_last(times: bool) -> None:
    ours, counts, histories, points = problem(times)
    matrix = torch.randn(RANK, RANK, generator=torch.Generator().manual_seed(0))
    scores = ours.scores(np.arange(USERS), counts, matrix)
    for user, history in enumerate(histories):
        weights = [0.5 ** ((len(history) - 1 - k) / HALF_LIFE) if times else 1.0
                   for k in range(len(history))]
        now = torch.stack([w * points[i] for w, i in zip(weights, history, strict=True)]).sum(0)
        expected = points @ (matrix @ now)
        expected = (expected - expected.mean()) / expected.std()
        torch.testing.assert_close(scores[user], expected, rtol=1e-2, atol=1e-2)


def test_the_space_is_white_under_popularity() -> None:
    _, counts, _, points = problem(times=True)
    weight = (counts / counts.sum())[:, None]
    assert float((weight * points).sum(0).abs().max()) < 1e-4
    torch.testing.assert_close((weight * points).T @ points, torch.eye(RANK), atol=2e-2, rtol=0)


def test_shrinking_keeps_what_stands_out_and_drops_noise() -> None:
    g = torch.Generator().manual_seed(1)
    noise = 3.0 * torch.randn(40, 40, generator=g)
    assert torch.equal(shrunken(noise, 0.0), noise)
    signal = torch.zeros(40, 40)
    signal[:4, :4] = 50.0
    found = shrunken(signal + noise, 3.0)
    assert float((found - signal).norm()) < 0.6 * float(noise.norm())
    assert float((found[:4, :4] - 50).abs().mean()) < 5
    assert float(found[4:, 4:].norm()) < 0.3 * float(noise[4:, 4:].norm())
    assert bool(torch.isfinite(shrunken(torch.zeros(3, 3), 1.0)).all())


def test_rank_follows_from_public_quantities() -> None:
    settings = StatisticsSettings()
    assert public_rank(settings, 943, 1297, 12.0) == 0
    assert public_rank(settings, 943, 1297, 3.45) == 68
    assert public_rank(settings, 1000, 3256, 3.45) == 0
    assert public_rank(settings, 100_000, 1297, 3.45) == 256
    assert public_rank(StatisticsSettings(association_rank=7), 10, 10, math.inf) == 7
