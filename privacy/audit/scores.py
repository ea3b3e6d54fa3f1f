"""Go from canary scores to lower bounds on epsilon: the mean shift, and the guesses to count."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, shapiro

from privacy.audit.counts import AuditError, check_levels, mu_to_epsilon, repeated_epsilon

NORMAL_LEVEL = 0.01


@dataclass(frozen=True)
class MeanShift:
    """Say how far included canaries score above the others, in standard deviations.

    mu: the estimate; mu_lower: one-sided limit; low, high: two-sided interval. normal_p: Shapiro's
    p-value of the scores about their two means; below NORMAL_LEVEL the limits do not hold.
    """

    mu: float
    mu_lower: float
    low: float
    high: float
    normal_p: float

    @property
    def normal(self) -> bool:
        """Tell whether the scores pass for normal, which the limits rest on."""
        return self.normal_p > NORMAL_LEVEL

    def epsilon(self, delta: float) -> float:
        """Return the estimate as an epsilon: what the mechanism seems to give, not a bound."""
        return mu_to_epsilon(self.mu, delta)

    def epsilon_lower(self, delta: float) -> float | None:
        """Return the lower bound on epsilon; None where the scores are not normal."""
        return mu_to_epsilon(self.mu_lower, delta) if self.normal else None


def split(scores: np.ndarray, coins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split the scores into those of the included canaries and of the others; scores and coins [m].

    Raises AuditError for scores that are not finite and for groups of fewer than three.
    """
    if scores.shape != coins.shape or scores.ndim != 1:
        raise AuditError(f"one coin a score: got shapes {coins.shape} and {scores.shape}")
    if not np.isfinite(scores).all():
        raise AuditError("some canary scores are not finite: a release held NaN or infinity")
    inside, outside = scores[coins], scores[~coins]
    if min(len(inside), len(outside)) < 3:
        raise AuditError(f"{len(inside)} canaries are in and {len(outside)} out; use more")
    return inside, outside


def mean_shift(scores: np.ndarray, coins: np.ndarray, alpha: float) -> MeanShift:
    """Estimate the shift of normal scores; scores and coins [m].

    (mean in - mean out) / pooled deviation is at most mu for a mu-GDP mechanism: any other
    variation only lowers it. Its t statistic is non-central t; the limits use the approximation
    of Johnson and Welch (1940): ncp = t (1 - 1/4f) -+ z sqrt(1 + t^2 / 2f). Scores as in
    Andrew et al. (2024), arXiv 2302.03098. Raises AuditError as `split`.
    """
    check_levels(0.0, alpha)
    inside, outside = split(scores, coins)
    residuals = np.concatenate([inside - inside.mean(), outside - outside.mean()])
    freedom = len(residuals) - 2
    deviation = math.sqrt(float(residuals @ residuals) / freedom)
    gap = float(inside.mean() - outside.mean())
    if deviation == 0:
        mu = math.copysign(math.inf, gap) if gap else 0.0
        return MeanShift(mu, mu, mu, mu, 0.0)
    unit = math.sqrt(1 / len(inside) + 1 / len(outside))
    t = gap / deviation / unit
    centre, spread = t * (1 - 0.25 / freedom), math.sqrt(1 + t * t / (2 * freedom))
    one, two = norm.isf(alpha), norm.isf(alpha / 2)
    normal_p = float(shapiro(residuals / deviation).pvalue)
    return MeanShift(
        gap / deviation, float(centre - one * spread) * unit,
        float(centre - two * spread) * unit, float(centre + two * spread) * unit, normal_p)


def default_guesses(canaries: int) -> int:
    """Return a quarter of the canaries: few enough to be sure, enough to refute an epsilon of 3."""
    return max(2, canaries // 4)


def right_guesses(scores: np.ndarray, coins: np.ndarray, guesses: int) -> int:
    """Count how many of `guesses` are right: half of them for the highest scores, half for the
    lowest. scores and coins [m].

    The rule looks at scores and never at coins, and its size is fixed, as the bounds need it.
    Raises AuditError for more guesses than canaries.
    """
    if not 1 <= guesses <= len(scores):
        raise AuditError(f"{guesses} guesses on {len(scores)} canaries; guess on 1 or more, and "
                         "on each at most once")
    order = np.argsort(scores, kind="stable")
    low = guesses // 2
    high = guesses - low
    return int(coins[order[len(order) - high:]].sum() + (~coins[order[:low]]).sum())


def repeated_scores_epsilon(
    inside: np.ndarray, outside: np.ndarray, delta: float, alpha: float
) -> float:
    """Bound epsilon from below by scores of independent runs with and without the canary, [runs]
    each.

    The threshold is chosen on the even runs and used on the odd ones. Raises AuditError for
    fewer than four runs a side.
    """
    if min(len(inside), len(outside)) < 4:
        raise AuditError("repeated runs: at least four with the canary and four without it")
    candidates = np.unique(np.concatenate([inside[::2], outside[::2]]))
    if len(candidates) > 64:
        candidates = np.quantile(candidates, np.linspace(0, 1, 64))
    found = [repeated_counts_epsilon(inside[::2], outside[::2], float(c), delta, alpha)
             for c in candidates]
    chosen = float(candidates[int(np.argmax(found))])
    return repeated_counts_epsilon(inside[1::2], outside[1::2], chosen, delta, alpha)


def repeated_counts_epsilon(
    inside: np.ndarray, outside: np.ndarray, threshold: float, delta: float, alpha: float
) -> float:
    """Bound epsilon from below by scores of independent runs, [runs] each, for a threshold that was
    fixed beforehand."""
    return repeated_epsilon(int((inside >= threshold).sum()), len(inside),
                            int((outside >= threshold).sum()), len(outside), delta, alpha)
