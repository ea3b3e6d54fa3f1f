"""Compare draws that should share nothing: equal, opposite, or shifted against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.special import stdtr

FEWEST_ALIKE = 16  # values, below which likeness is nothing to go by: on a grid two may be equal
_SHIFTED = 64  # values, from which on draws are shifted against each other


def combined(ps: Sequence[float]) -> float:
    """Return the p-value of the smallest of several, by Bonferroni."""
    return min(1.0, min(ps) * len(ps))


def correlated(likeness: float, pairs: int, tests: int) -> float:
    """Return the p-value of the largest of some correlations about zero, by Student's t: exact for
    two normal vectors of so many pairs of values."""
    if likeness >= 1:
        return 0.0
    t = likeness * math.sqrt((pairs - 1) / (1 - likeness**2))
    return min(1.0, 2 * float(stdtr(pairs - 1, -t)) * tests)


def repeated(draws: Sequence[np.ndarray]) -> float:
    """Return the p-value of the largest likeness, equal or opposite, of two draws that should share
    nothing.

    draws: [several] of [dims], dims at least FEWEST_ALIKE, of rounds, clients or runs, each with
    keys of its own. All pairs are compared as they stand, and neighbours at every distance up to
    the half as well: a stream that goes on where it was not at its end. 64 runs find a seed of 8
    bits with a chance of 1 - 4e-4: two of them share it.
    """
    rows = np.stack(draws)
    sizes = np.sqrt(np.square(rows).sum(axis=1))
    if not sizes.all():
        return 0.0
    likeness = np.abs(rows @ rows.T) / np.outer(sizes, sizes)
    pairs = np.triu_indices(len(rows), 1)
    same = correlated(float(likeness[pairs].max()), rows.shape[1], len(pairs[0]))
    if rows.shape[1] < _SHIFTED:
        return same
    return combined([same, combined([shifted(one, other) for one, other in pairwise(rows)])])


def shifted(one: np.ndarray, other: np.ndarray) -> float:
    """Return the p-value of the largest likeness of two draws [dims] at any distance up to the
    half, by the correlation of those values that stand beside each other."""
    n = len(one)
    lags = np.arange(1, n // 2 + 1)
    both = np.fft.irfft(np.fft.rfft(one, 2 * n) * np.conj(np.fft.rfft(other, 2 * n)), 2 * n)
    # The sum of squares of the first n - lag values, and of the last.
    first, last = ((np.cumsum(np.square(x))[n - lags - 1], np.cumsum(np.square(x)[::-1])[
        n - lags - 1]) for x in (one, other))
    sizes = np.sqrt(np.concatenate([first[1] * last[0], first[0] * last[1]]))
    sums = np.abs(np.concatenate([both[lags], both[2 * n - lags]]))
    # Of no noise at all there is no likeness: its width tells.
    found = np.minimum(np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0), 1.0)
    pairs = np.tile(n - lags, 2)
    with np.errstate(divide="ignore"):
        t = found * np.sqrt((pairs - 1) / (1 - found**2))
    return min(1.0, 2 * float(stdtr(pairs - 1, -t).min()) * len(t))


def most_alike(rows: np.ndarray) -> tuple[float, int]:
    """Return the largest likeness of two of some unit vectors [several, dims], and the number of
    pairs."""
    likeness = np.abs(rows @ rows.T)
    np.fill_diagonal(likeness, 0.0)
    return float(likeness.max(initial=0.0)), len(rows) * (len(rows) - 1) // 2
