"""Measure how well scores tell two classes apart, each figure with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from privacy.audit.counts import AuditError, proportion_lower, proportion_upper
from privacy.randomness import Source


@dataclass(frozen=True)
class Interval:
    """Hold an estimate and its two-sided confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def _classes(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if scores.shape != truth.shape or scores.ndim != 1:
        raise AuditError(f"one truth a score: got shapes {truth.shape} and {scores.shape}")
    positive, negative = scores[truth], scores[~truth]
    if not len(positive) or not len(negative):
        raise AuditError("scores of one class only: nothing can be told apart")
    return positive, negative


def auc_value(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the area under the ROC curve, ties counted half; scores [n], truth [n] bool."""
    positive, negative = _classes(scores, truth)
    ranks = rankdata(np.concatenate([positive, negative]))
    own = len(positive) * (len(positive) + 1) / 2
    return float((ranks[: len(positive)].sum() - own) / (len(positive) * len(negative)))


def auc(scores: np.ndarray, truth: np.ndarray, alpha: float) -> Interval:
    """Return `auc_value` with the interval of DeLong, DeLong and Clarke-Pearson (1988).

    Where the classes are apart without an exception, whose variance DeLong puts at zero, the
    exact limit (alpha/2)^(1/min(classes)) takes its place. Scores must be independent.
    """
    positive, negative = _classes(scores, truth)
    value = auc_value(scores, truth)
    if value in (0.0, 1.0):
        limit = (alpha / 2) ** (1 / min(len(positive), len(negative)))
        return Interval(1.0, limit, 1.0) if value else Interval(0.0, 0.0, 1 - limit)
    both = rankdata(np.concatenate([positive, negative]))
    above = (both[: len(positive)] - rankdata(positive)) / len(negative)
    below = 1 - (both[len(positive):] - rankdata(negative)) / len(positive)
    variance = sum(float(part.var(ddof=1)) / len(part) if len(part) > 1 else 0.25
                   for part in (above, below))
    reach = float(norm.isf(alpha / 2)) * math.sqrt(variance)
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach))


def tpr_at(scores: np.ndarray, truth: np.ndarray, fpr: float, alpha: float) -> Interval:
    """Return the true-positive rate at the threshold above which at most `fpr` of the negatives
    lie.

    The interval is Clopper and Pearson's for the threshold that the negatives set; it leaves out
    the uncertainty of that threshold.
    """
    positive, negative = _classes(scores, truth)
    allowed = math.floor(fpr * len(negative))
    threshold = np.sort(negative)[::-1][allowed] if allowed < len(negative) else -math.inf
    hits = int((positive > threshold).sum())
    return Interval(hits / len(positive), proportion_lower(hits, len(positive), alpha / 2),
                    proportion_upper(hits, len(positive), alpha / 2))


@dataclass(frozen=True)
class Decided:
    """Hold precision, recall and F1 of an attack's decisions."""

    precision: Interval
    recall: Interval
    f1: Interval


def _rates(table: np.ndarray) -> np.ndarray:
    """[..., 3] counts of (right positives, all guessed, all true) -> precision, recall, F1."""
    right, guessed, true = table[..., 0], table[..., 1], table[..., 2]
    return np.stack([right / np.maximum(guessed, 1), right / np.maximum(true, 1),
                     2 * right / np.maximum(guessed + true, 1)], axis=-1)


def decided(
    guess: np.ndarray, truth: np.ndarray, unit: np.ndarray, alpha: float, source: Source,
    draws: int = 500,
) -> Decided:
    """Return precision, recall and F1 of guess [n] bool against truth [n], with percentile
    intervals.

    unit [n] int names the user behind a row: users are resampled, since a user's rows go together.
    0 where nothing was guessed. Raises AuditError where the arrays differ in shape.
    """
    if not guess.shape == truth.shape == unit.shape:
        raise AuditError(f"guess, truth and unit differ: {guess.shape}, {truth.shape}, "
                         f"{unit.shape}")
    counts = _by_unit(unit, np.stack([guess & truth, guess, truth], axis=1).astype(float))
    value = _rates(counts.sum(0))
    low, high = np.quantile(_rates(_resampled(counts, source, draws)), [alpha / 2, 1 - alpha / 2],
                            axis=0)
    return Decided(*(Interval(float(v), float(a), float(b))
                     for v, a, b in zip(value, low, high, strict=True)))


def _by_unit(unit: np.ndarray, values: np.ndarray) -> np.ndarray:
    _, place = np.unique(unit, return_inverse=True)
    out = np.zeros((int(place.max()) + 1, values.shape[1]))
    np.add.at(out, place, values)
    return out


def _resampled(counts: np.ndarray, source: Source, draws: int) -> np.ndarray:
    """Sums over `draws` bootstrap samples of the units, [draws, columns]."""
    return np.stack([counts[pick].sum(0) for pick in _picks(len(counts), source, draws)])


def _picks(units: int, source: Source, draws: int) -> np.ndarray:
    uniform = source.uniform("audit bootstrap", units, draws * units)
    return np.minimum((uniform * units).astype(np.int64), units - 1).reshape(draws, units)


def grouped_auc(
    scores: np.ndarray, truth: np.ndarray, unit: np.ndarray, alpha: float, source: Source,
    draws: int = 100,
) -> Interval:
    """Return `auc_value` with a percentile interval from resampling the users named by unit [n].

    With fewer than two users, DeLong's interval over the rows, which takes them as independent.
    """
    names, counts = np.unique(unit, return_counts=True)
    starts = np.cumsum(counts) - counts
    if len(names) < 2:
        return auc(scores, truth, alpha)
    value = auc_value(scores, truth)
    order = np.argsort(unit, kind="stable")
    found = []
    for chosen in _picks(len(names), source, draws):
        # The rows of each chosen user, one after the other.
        length = counts[chosen]
        ends = np.cumsum(length)
        within = np.arange(ends[-1]) - np.repeat(ends - length, length)
        pick = order[np.repeat(starts[chosen], length) + within]
        if truth[pick].any() and not truth[pick].all():
            found.append(auc_value(scores[pick], truth[pick]))
    low, high = np.quantile(found or [0.0, 1.0], [alpha / 2, 1 - alpha / 2])
    return Interval(value, float(low), float(high))
