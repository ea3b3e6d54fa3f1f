"""Set what an audit found beside what was claimed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from privacy.audit.counts import (
    AuditError,
    check_levels,
    gaussian_run_epsilon,
    mu_to_epsilon,
    one_run_epsilon,
)
from privacy.audit.intervals import Interval, auc, tpr_at
from privacy.audit.residual import NOISE_LEVEL, failures, sentence
from privacy.audit.scores import default_guesses, mean_shift, right_guesses

MEAN_SHIFT, ONE_RUN, GAUSSIAN_RUN = "mean_shift", "one_run", "gaussian_one_run"
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """Hold a claim, an estimate and lower bounds, each of which holds with confidence 1 - alpha
    alone.

    bounds: name -> lower bound on epsilon at delta; `missing` says why one is not there. estimate:
    the epsilon that the mechanism seems to give, None without a Gaussian claim. All bounds
    together hold with confidence 1 - len(bounds) * alpha at least.
    """

    claimed: float
    delta: float
    alpha: float
    canaries: int
    guesses: int
    correct: int
    estimate: Interval | None
    normal_p: float
    bounds: Mapping[str, float]
    missing: Mapping[str, str]
    auc: Interval
    tpr_at_1_percent_fpr: Interval
    noise: Mapping[str, float] = field(default_factory=dict)

    @property
    def noise_faults(self) -> tuple[str, ...]:
        """Return the tests of the noise itself that fail, at NOISE_LEVEL together."""
        return failures(self.noise, NOISE_LEVEL)

    @property
    def violations(self) -> tuple[str, ...]:
        """Return the bounds that lie above the claim."""
        limit = self.claimed * (1 + _ROUNDING)
        return tuple(name for name, low in self.bounds.items() if low > limit)

    @property
    def passed(self) -> bool:
        """Tell whether every lower bound is at most the claim, and the noise is as stated."""
        return not self.violations and not self.noise_faults

    @property
    def verdict(self) -> str:
        """Return one sentence that says how the audit ended."""
        if self.passed:
            return (f"passed: no lower bound is above the claimed epsilon {self.claimed:.4g}; "
                    "this shows no fault and proves no claim")
        found = ", ".join(f"{n} {self.bounds[n]:.4g}" for n in self.violations)
        if self.noise_faults:
            return f"FAILED: {sentence(self.noise, self.noise_faults)}" + (
                f"; lower bounds above the claimed epsilon {self.claimed:.4g}: {found}"
                if found else "")
        return (f"FAILED: the mechanism leaks more than the claimed epsilon {self.claimed:.4g} "
                f"allows (lower bounds at {1 - self.alpha:.0%}: {found})")

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values; an infinite figure stays infinite."""
        return {**asdict(self), "violations": list(self.violations), "passed": self.passed,
                "verdict": self.verdict}


def judge(
    scores: np.ndarray, coins: np.ndarray, claimed: float, delta: float, alpha: float,
    guesses: int | None = None, gaussian: bool = True, noise: Mapping[str, float] | None = None,
) -> AuditResult:
    """Judge canary scores [m] and their coins [m] bool against a claim.

    guesses: how many canaries are guessed, fixed beforehand; None: `default_guesses`. gaussian:
    whether the mechanism is claimed to be Gaussian as a whole, so that its curve is known; a
    subsampled one is not, and only the bound without assumptions is given. noise: p-values of tests
    of the noise itself.
    Raises AuditError for scores or levels that allow no audit.
    """
    check_levels(delta, alpha)
    if not 0 <= claimed < math.inf or delta == 0:
        raise AuditError(f"epsilon {claimed} at delta {delta} is no claim that could be audited; "
                         "epsilon must be finite and delta above 0")
    guesses = default_guesses(len(scores)) if guesses is None else guesses
    shift = mean_shift(scores, coins, alpha)
    correct = right_guesses(scores, coins, guesses)
    bounds = {ONE_RUN: one_run_epsilon(len(scores), guesses, correct, delta, alpha)}
    missing: dict[str, str] = {}
    estimate = None
    if gaussian:
        bounds[GAUSSIAN_RUN] = gaussian_run_epsilon(len(scores), guesses, correct, delta, alpha)
        estimate = Interval(*(mu_to_epsilon(mu, delta) for mu in (shift.mu, shift.low, shift.high)))
        lower = shift.epsilon_lower(delta)
        if lower is None:
            missing[MEAN_SHIFT] = (f"the scores are not normal (Shapiro p = {shift.normal_p:.2g}); "
                                   "the bounds on guesses take its place")
        else:
            bounds[MEAN_SHIFT] = lower
    else:
        for name in (MEAN_SHIFT, GAUSSIAN_RUN):
            missing[name] = "the claim is not of a Gaussian mechanism (its cohorts are sampled)"
    return AuditResult(
        claimed=claimed, delta=delta, alpha=alpha, canaries=len(scores), guesses=guesses,
        correct=correct, estimate=estimate, normal_p=shift.normal_p, bounds=bounds,
        missing=missing, auc=auc(scores, coins, alpha),
        tpr_at_1_percent_fpr=tpr_at(scores, coins, 0.01, alpha), noise=dict(noise or {}))
