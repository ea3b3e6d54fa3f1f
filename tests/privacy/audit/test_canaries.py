"""Canaries: exactly the clip's norm at the gate, orthonormal, and coins that nobody else has."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from privacy import (
    Cohort,
    GaussianNoise,
    JointClip,
    Ledger,
    Mechanism,
    PrivacyStack,
    Project,
    Release,
    SimulationSource,
    SystemSource,
    chain,
)
from privacy.audit import AuditError, AuditSource, draw_coins, draw_directions
from privacy.audit.canaries import (
    canary_scores,
    canary_uploads,
    layout,
    predict_common,
    predict_previous,
    signs,
)

RELEASES = (Release("table", (30, 4)), Release("groups", (3, 5)), Release("head", (7,)))
WEIGHTS = {"table": 1.0, "groups": 0.3, "head": 2.0}
CLIP = 0.7


def mechanism(project: bool) -> Mechanism:
    rng = np.random.default_rng(0)
    basis = torch.from_numpy(np.linalg.qr(rng.normal(size=(30, 6)))[0]).float()
    first = [Project({"table": basis})] if project else []
    return chain([*first, JointClip(CLIP, WEIGHTS), GaussianNoise(3.0, CLIP)])


@pytest.mark.parametrize("project", [False, True], ids=["full", "projected"])
@pytest.mark.parametrize("norm", [1.0, 10.0])
def test_canaries_leave_the_clip_with_its_norm_and_their_direction(
    project: bool, norm: float
) -> None:
    chained = mechanism(project)
    where = layout(RELEASES, chained)
    assert where.dims == (24 if project else 120) + 15 + 7
    directions = draw_directions(20, where.dims, AuditSource(1))
    uploads = canary_uploads(RELEASES, where, directions, norm * CLIP)
    assert {n: p.shape() for n, p in uploads.items()} == {r.name: r.shape for r in RELEASES}
    clipped = chained.on_clients(uploads, np.arange(20), SystemSource(), 0)
    rows = where.join_rows({n: p.dense() for n, p in clipped.uploads.items()})
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), CLIP, rtol=2e-5)
    assert (np.linalg.norm(rows, axis=1) <= CLIP).all()
    np.testing.assert_allclose(rows / CLIP, directions, atol=1e-4)
    assert bool(clipped.shortened.all()) == (norm > 1)


def test_released_sums_come_back_in_the_joint_vector() -> None:
    """Gate, sum, expansion and back: the sum of directions times the clip, without noise."""
    steps = mechanism(project=True)
    quiet = chain([steps.project, steps.clip, GaussianNoise(0.0, CLIP)])  # type: ignore[list-item]
    stack = PrivacyStack(RELEASES, Ledger(), mechanism=quiet)
    where = layout(RELEASES, quiet)
    directions = draw_directions(8, where.dims, AuditSource(2))
    cohort = Cohort(0, np.arange(8), 8.0)
    gate = stack.open(cohort)
    gate.submit(cohort.ids, canary_uploads(RELEASES, where, directions, CLIP))
    totals, _ = stack.finish(gate.close(), cohort, 8)
    np.testing.assert_allclose(where.join(totals.sums), CLIP * directions.sum(0), atol=1e-4)


def test_directions() -> None:
    few = draw_directions(40, 80, AuditSource(3))
    np.testing.assert_allclose(few @ few.T, np.eye(40), atol=1e-10)
    many = draw_directions(60, 80, AuditSource(3))
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1.0)
    # Spread evenly: every coordinate's mean square is 1/d, 1e-4 false alarms over the whole.
    wide = draw_directions(400, 1000, AuditSource(4))
    assert abs(wide.mean()) < 4 / math.sqrt(400 * 1000) / math.sqrt(1000)
    np.testing.assert_allclose((wide**2).mean(), 1 / 1000)


def test_coins_are_fair_and_of_their_own() -> None:
    """No stream that training draws, of the same seed or near it, gives the coins away.

    900 comparisons of 2,000 coins; agreement beyond 6 deviations has a chance below 2e-6.
    """
    coins = draw_coins(2000, AuditSource(7))
    assert abs(coins.mean() - 0.5) < 4 * 0.5 / math.sqrt(2000)
    np.testing.assert_array_equal(coins, draw_coins(2000, AuditSource(7)))
    assert (coins != draw_coins(2000, AuditSource(8))).mean() > 0.4
    assert (draw_coins(2000, SystemSource()) != draw_coins(2000, SystemSource())).mean() > 0.4
    labels = ["cohort", "audit coins", "audit directions", "table", "joint", "joint|0|64"]
    for seed in range(15):
        for label in labels:
            for round_ in range(5):
                source = SimulationSource(seed)
                for drawn in (source.uniform(label, round_, 2000) <= 0.5,
                              source.normal(label, round_, 2000) > 0):
                    agree = (drawn == coins).mean()
                    assert abs(agree - 0.5) < 6 * 0.5 / math.sqrt(2000), (seed, label, round_)


def test_coins_say_nothing_of_the_directions() -> None:
    """False alarms: 4 deviations in the largest of 50 coordinates, about 3e-3."""
    source = AuditSource(9)
    coins, directions = draw_coins(2000, source), draw_directions(2000, 50, source)
    gap = directions[coins].mean(0) - directions[~coins].mean(0)
    assert np.abs(gap * math.sqrt(50) * math.sqrt(500)).max() < 4


def released(
    rounds: int, dims: int, z: float, seed: int, benign: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Releases with 100 orthonormal canaries of norm 1 and a steady benign signal."""
    rng = np.random.default_rng(seed)
    directions, coins = draw_directions(100, dims, AuditSource(seed)), rng.random(100) < 0.5
    canaries = signs(rounds)[:, None] * directions[coins].sum(0)
    steady = benign * (1 + 0.1 * np.arange(rounds)[:, None]) * rng.normal(size=dims)
    return canaries + steady + z * rng.normal(size=(rounds, dims)), directions, coins


def test_scores_are_standard_normal_with_the_mean_of_the_claim() -> None:
    """Mean 0 and sqrt(T) / z; false alarms 1e-4 each."""
    z, rounds = 4.0, 16
    inside, outside = [], []
    for seed in range(20):
        seen, directions, coins = released(rounds, 400, z, seed)
        scores = canary_scores(seen, directions, signs(rounds), z)
        inside.append(scores[coins])
        outside.append(scores[~coins])
    a, b = np.concatenate(inside), np.concatenate(outside)
    assert abs(a.mean() - math.sqrt(rounds) / z) < 4 / math.sqrt(len(a))
    assert abs(b.mean()) < 4 / math.sqrt(len(b))
    assert abs(np.concatenate([a - math.sqrt(rounds) / z, b]).std() - 1) < 4 / math.sqrt(2 * 2000)


def test_alternating_signs_cancel_what_stays_and_predictions_take_the_drift() -> None:
    """Deviation of scores about their two means, in units of the noise's.

    A benign signal of 50 that grows by 5 a round: expected 350 with constant signs, 10 with
    alternating ones, 2.3 and 1 after the predictions; each is measured to about 7%.
    """
    seen, directions, coins = released(16, 400, 1.0, 5, benign=50.0)

    def spread(sign: np.ndarray, predicted: np.ndarray | None = None) -> float:
        scores = canary_scores(seen, directions, sign, 1.0, predicted)
        return float(np.concatenate([part - part.mean()
                                     for part in (scores[coins], scores[~coins])]).std())

    alternating = spread(signs(16))
    assert spread(np.ones(16)) > 20 * alternating
    assert spread(signs(16), predict_previous(seen)) < alternating / 2
    assert spread(signs(16), predict_common(seen, 1)) < alternating / 5


def test_predictions() -> None:
    seen = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(predict_previous(seen)[1:], seen[:-1])
    np.testing.assert_array_equal(predict_common(seen, 0), np.zeros((4, 3)))
    np.testing.assert_array_equal(predict_common(seen[:1], 2), np.zeros((1, 3)))
    np.testing.assert_allclose(predict_common(seen, 3), seen, atol=1e-9)


def test_no_score_without_noise() -> None:
    with pytest.raises(AuditError, match="claimed noise is zero"):
        canary_scores(np.zeros((2, 3)), np.zeros((4, 3)), signs(2), 0.0)
    with pytest.raises(AuditError, match="nothing is released"):
        layout([], mechanism(project=False))
