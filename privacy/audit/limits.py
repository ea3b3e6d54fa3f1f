"""Compute the best that any attack can do against a mechanism with a claim.

The claim bounds an attack that tells two neighbouring data sets apart, each as likely as the
other. What can be guessed without the target (an item's popularity, say) comes on top.
"""

from __future__ import annotations

import math

from scipy.stats import norm

from privacy.audit.counts import AuditError


def _check(epsilon: float, delta: float) -> None:
    if not (epsilon >= 0 and 0 <= delta <= 1):
        raise AuditError(f"epsilon must be 0 or more and delta in [0, 1], got {epsilon}, {delta}")


def best_tpr(fpr: float, epsilon: float, delta: float) -> float:
    """Return the largest true-positive rate at a false-positive rate: min(e^eps fpr + delta, 1 -
    e^-eps (1 - delta - fpr), 1).

    Wasserman and Zhou (2010), theorem 2.4; Kairouz, Oh and Viswanath (2015), theorem 2.1.
    """
    _check(epsilon, delta)
    steep = math.inf if epsilon > 700 else math.exp(epsilon)
    first = delta + (steep * fpr if fpr else 0.0)
    return max(fpr, min(first, 1 - math.exp(-epsilon) * (1 - delta - fpr), 1.0))


def best_auc(epsilon: float, delta: float) -> float:
    """Return the area under `best_tpr`: 1 - (1 - delta)^2 / (1 + e^eps)."""
    _check(epsilon, delta)
    return 1 - (1 - delta) ** 2 * _one_over_one_plus_exp(epsilon)


def best_advantage(epsilon: float, delta: float) -> float:
    """Return the largest TPR - FPR: (e^eps - 1 + 2 delta) / (e^eps + 1) (Humphries et al. 2023)."""
    _check(epsilon, delta)
    return 1 - 2 * (1 - delta) * _one_over_one_plus_exp(epsilon)


def best_accuracy(epsilon: float, delta: float) -> float:
    """Return the largest share of right answers with both cases equally likely: (1 + advantage) /
    2."""
    return (1 + best_advantage(epsilon, delta)) / 2


def best_gaussian_auc(mu: float) -> float:
    """Return Phi(mu / sqrt 2): the area under the Gaussian trade-off curve, below `best_auc`."""
    return float(norm.cdf(mu / math.sqrt(2)))


def substituted(epsilon: float, delta: float) -> tuple[float, float]:
    """Return the claim (epsilon, delta) against a question about a user who is there in any case.

    Whether a present user has an item compares two data sets that are both one zero-out away
    from the data without the user: (2 eps, (1 + e^eps) delta), by group privacy. For a Gaussian
    mechanism doubling mu is tighter.
    """
    _check(epsilon, delta)
    grown = (1 + math.exp(min(epsilon, 700.0))) * delta if delta else 0.0
    return 2 * epsilon, min(1.0, grown)


def _one_over_one_plus_exp(epsilon: float) -> float:
    small = math.exp(-epsilon)
    return small / (1 + small)
