"""Intervals that cover, and limits that follow from (epsilon, delta) alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from privacy.accounting import gaussian_epsilon
from privacy.audit import (
    AuditError,
    AuditSource,
    best_accuracy,
    best_advantage,
    best_auc,
    best_gaussian_auc,
    best_tpr,
    substituted,
)
from privacy.audit.intervals import auc, decided, grouped_auc, tpr_at

EPSILON = st.floats(0, 12)
DELTAS = st.sampled_from([0.0, 1e-6, 1e-3, 0.2])


def test_auc_is_that_of_sklearn_with_ties() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + truth, 1)
    assert auc(scores, truth, 0.05).value == pytest.approx(roc_auc_score(truth, scores))


def test_auc_interval_covers() -> None:
    """400 data sets; the 95% interval must hold the true AUC in 92% at least (p below 1e-2)."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        truth = rng.random(200) < 0.5
        found = auc(rng.normal(size=200) + truth, truth, 0.05)
        held += found.low <= best_gaussian_auc(1.0) <= found.high
    assert held >= 0.92 * 400


def test_auc_of_perfect_scores_has_an_honest_interval() -> None:
    truth = np.arange(40) >= 20
    found = auc(np.arange(40.0), truth, 0.05)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 20))
    assert auc(-np.arange(40.0), truth, 0.05).value == 0.0


def test_tpr_at_a_fixed_fpr() -> None:
    rng = np.random.default_rng(2)
    truth = np.arange(20000) % 2 == 0
    scores = rng.normal(size=20000) + 2 * truth
    found = tpr_at(scores, truth, 0.01, 0.05)
    # 10,000 negatives set the threshold to about 0.04, the rate moves by 0.36 times that.
    assert found.value == pytest.approx(stats.norm.sf(stats.norm.isf(0.01) - 2), abs=0.04)
    assert found.low < found.value < found.high


def test_decisions_are_those_of_sklearn() -> None:
    rng = np.random.default_rng(3)
    truth, guess = rng.random(500) < 0.4, rng.random(500) < 0.5
    found = decided(guess, truth, np.arange(500) // 10, 0.05, AuditSource(1))
    p, r, f, _ = precision_recall_fscore_support(truth, guess, average="binary")
    assert (found.precision.value, found.recall.value, found.f1.value) == pytest.approx((p, r, f))
    assert found.f1.low < found.f1.value < found.f1.high


def test_bootstrap_resamples_users_and_not_rows() -> None:
    """Rows copied ten times for one user tell no more than one row each."""
    rng = np.random.default_rng(4)
    truth = rng.random(60) < 0.5
    scores = rng.normal(size=60) + truth
    unit = np.arange(60)
    one = grouped_auc(scores, truth, unit, 0.05, AuditSource(2))
    ten = grouped_auc(np.repeat(scores, 10), np.repeat(truth, 10), np.repeat(unit, 10), 0.05,
                      AuditSource(2))
    assert (one.value, one.low, one.high) == pytest.approx((ten.value, ten.low, ten.high))
    assert ten.high - ten.low > 2 * (lambda i: i.high - i.low)(
        auc(np.repeat(scores, 10), np.repeat(truth, 10), 0.05))


@given(EPSILON, DELTAS)
def test_limits_agree_with_one_another(epsilon: float, delta: float) -> None:
    """The area under the largest ROC curve, its largest height over the diagonal."""
    kink = (1 - delta) / (1 + math.exp(epsilon))
    area, _ = quad(best_tpr, 0, 1, args=(epsilon, delta), points=[kink, 1 - delta])
    assert best_auc(epsilon, delta) == pytest.approx(area, abs=1e-6)
    assert best_advantage(epsilon, delta) == pytest.approx(
        best_tpr(kink, epsilon, delta) - kink, abs=1e-9)
    assert best_accuracy(epsilon, delta) == pytest.approx((1 + best_advantage(epsilon, delta)) / 2)
    assert 0.5 <= best_auc(epsilon, delta) <= 1
    assert best_auc(epsilon, delta) <= best_auc(epsilon + 0.1, delta) + 1e-12


@given(EPSILON, DELTAS, st.floats(0, 1))
def test_largest_roc_curve_keeps_both_inequalities(
    epsilon: float, delta: float, fpr: float
) -> None:
    tpr = best_tpr(fpr, epsilon, delta)
    assert fpr - 1e-12 <= tpr <= math.exp(epsilon) * fpr + delta + 1e-12
    assert 1 - fpr <= math.exp(epsilon) * (1 - tpr) + delta + 1e-9


@given(st.floats(0.05, 4))
def test_a_gaussian_mechanism_stays_below_the_limit_of_its_own_epsilon(mu: float) -> None:
    for delta in (1e-6, 1e-3, 0.1):
        assert best_gaussian_auc(mu) <= best_auc(gaussian_epsilon(mu, delta), delta) + 1e-9


def test_limits_at_the_ends() -> None:
    assert best_auc(0.0, 0.0) == 0.5
    assert best_auc(math.inf, 0.0) == best_accuracy(1e6, 0.0) == 1.0
    assert best_tpr(0.0, math.inf, 1e-5) == 1e-5
    assert best_tpr(0.01, math.inf, 0.0) == 1.0
    assert substituted(1.0, 1e-5) == pytest.approx((2.0, (1 + math.e) * 1e-5))
    # Doubling the sensitivity of a Gaussian mechanism costs less than the general rule.
    assert gaussian_epsilon(1.0, 1e-5) > gaussian_epsilon(0.5, 1e-5)
    rough = substituted(gaussian_epsilon(0.5, 1e-5), 1e-5)
    assert gaussian_epsilon(1.0, rough[1]) <= rough[0] + 1e-9
    with pytest.raises(AuditError, match="epsilon"):
        best_auc(-1.0, 0.0)
    with pytest.raises(AuditError, match="one class"):
        auc(np.arange(3.0), np.ones(3, dtype=bool), 0.05)
