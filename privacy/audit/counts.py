"""Bound epsilon from below by counts of right and wrong guesses.

Each holds with confidence 1 - alpha for a guessing rule that was fixed before the coins were
looked at. A rule chosen for its success is not covered.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, ndtr, ndtri
from scipy.stats import beta, binom

from privacy.accounting import gaussian_epsilon

_LARGEST = 1e3


class AuditError(ValueError):
    """Report an audit that cannot be carried out, or whose figures would mean nothing."""


def check_levels(delta: float, alpha: float) -> None:
    """Check the levels of an audit. Raises AuditError outside 0 <= delta < 1 and 0 < alpha <
    0.5."""
    if not 0 <= delta < 1:
        raise AuditError(f"delta must be in [0, 1), got {delta}")
    if not 0 < alpha < 0.5:
        raise AuditError(f"alpha must be in (0, 0.5), got {alpha}; 0.05 gives 95% confidence")


def _check_counts(canaries: int, guesses: int, correct: int) -> None:
    if not 0 <= correct <= guesses <= canaries or guesses < 1:
        raise AuditError(f"{correct} right of {guesses} guesses on {canaries} canaries: counts "
                         "must satisfy 0 <= right <= guesses <= canaries, and guesses >= 1")


def _largest_refuted(excess: Callable[[float], float]) -> float:
    """Largest x with excess(x) > 0 of a falling function; 0 where there is none."""
    if excess(0.0) <= 0:
        return 0.0
    low, high = 0.0, 1.0
    while excess(high) > 0:
        low, high = high, 2 * high
        if high > _LARGEST:
            return math.inf
    return float(brentq(excess, low, high, xtol=1e-9))


def one_run_p_value(
    canaries: int, guesses: int, correct: int, epsilon: float, delta: float
) -> float:
    """Return how likely an (epsilon, delta)-DP mechanism lets `correct` or more guesses be right.

    Steinke, Nasr and Jagielski (2023), arXiv 2305.08846, theorem 5.2:
    beta + 2 m delta max_i (P[Bin >= v - i] - beta) / i, beta = P[Bin(r, 1/(1+e^-eps)) >= v].
    """
    q = expit(epsilon)
    tail = float(binom.sf(correct - 1, guesses, q))
    if delta == 0 or correct == 0:
        return tail
    fewer = np.arange(1, correct + 1)
    slope = max(0.0, float(((binom.sf(correct - fewer - 1, guesses, q) - tail) / fewer).max()))
    return min(1.0, tail + 2 * canaries * delta * slope)


def one_run_epsilon(
    canaries: int, guesses: int, correct: int, delta: float, alpha: float
) -> float:
    """Return a lower bound on epsilon of any mechanism, from one run with independent fair coins.

    Steinke, Nasr and Jagielski (2023), theorem 5.2, as in `one_run_p_value`. Abstaining is free:
    guesses may be fewer than canaries. Raises AuditError for counts or levels out of range.
    """
    check_levels(delta, alpha)
    _check_counts(canaries, guesses, correct)
    return _largest_refuted(
        lambda e: alpha - one_run_p_value(canaries, guesses, correct, e, delta))


def _gaussian_excess(
    canaries: int, guesses: int, correct: int, mu: float, alpha: float
) -> float:
    """Above 0 where a mu-GDP mechanism is refuted: the recursion of arXiv 2410.22235, alg. 3."""
    right = alpha * correct / canaries
    wrong = alpha * (guesses - correct) / canaries
    for i in range(correct - 1, -1, -1):
        # The inverse blow-up function of the Gaussian trade-off curve.
        after = max(wrong, float(ndtr(ndtri(right) - mu)))
        if after == wrong:
            break
        right = min(1.0, right + i / (guesses - i) * (after - wrong))
        wrong = after
    return right + wrong - guesses / canaries


def gaussian_run_mu(canaries: int, guesses: int, correct: int, alpha: float) -> float:
    """Return a lower bound on mu of a Gaussian mechanism, from one run with independent fair coins.

    Mahloujifar, Melis and Chaudhuri (2024), arXiv 2410.22235, algorithm 3. Raises AuditError as
    `one_run_epsilon`.
    """
    check_levels(0.0, alpha)
    _check_counts(canaries, guesses, correct)
    return _largest_refuted(
        lambda mu: _gaussian_excess(canaries, guesses, correct, mu, alpha))


def gaussian_run_epsilon(
    canaries: int, guesses: int, correct: int, delta: float, alpha: float
) -> float:
    """Return `gaussian_run_mu` as an epsilon at delta."""
    check_levels(delta, alpha)
    return mu_to_epsilon(gaussian_run_mu(canaries, guesses, correct, alpha), delta)


def mu_to_epsilon(mu: float, delta: float) -> float:
    """Return epsilon of a mu-GDP mechanism at delta; 0 for mu <= 0, infinite for an infinite mu."""
    if delta == 0 and mu > 0:
        return math.inf
    return gaussian_epsilon(mu, delta) if 0 < mu < math.inf else max(mu, 0.0)


def proportion_upper(count: int, trials: int, alpha: float) -> float:
    """Return the one-sided upper confidence limit of a proportion (Clopper and Pearson 1934)."""
    return 1.0 if count >= trials else float(beta.ppf(1 - alpha, count + 1, trials - count))


def proportion_lower(count: int, trials: int, alpha: float) -> float:
    """Return the one-sided lower confidence limit of a proportion (Clopper and Pearson 1934)."""
    return 0.0 if count <= 0 else float(beta.ppf(alpha, count, trials - count + 1))


def repeated_epsilon(
    true_positives: int, members: int, false_positives: int, others: int, delta: float,
    alpha: float,
) -> float:
    """Return a lower bound on epsilon of a mechanism that was run many times, independently.

    It is the greater of ln((TPR - delta) / FPR) and its mirror, each rate at its Clopper-Pearson
    limit of alpha / 2 (Nasr et al. 2021, arXiv 2101.04535). Raises AuditError for counts out of
    range.
    """
    check_levels(delta, alpha)
    for count, trials in ((true_positives, members), (false_positives, others)):
        if not 0 <= count <= trials or trials < 1:
            raise AuditError(f"{count} positives of {trials} runs is no proportion")
    missed = proportion_upper(members - true_positives, members, alpha / 2)
    raised = proportion_upper(false_positives, others, alpha / 2)
    best = 0.0
    for kept, leaked in ((1 - missed, raised), (1 - raised, missed)):
        if kept > delta:
            best = max(best, math.log((kept - delta) / leaked))
    return best
