"""Look at the noise itself: what a release holds beside the clipped uploads that went into it.

The auditor knows every upload, so the residual, released sum - sum of clipped uploads, is the noise
(and the rounding of uploads, where there is any, which only adds to it). In units of its stated
standard deviation it has to be at least as wide as stated, of the stated distribution, and unlike
itself in all other coordinates, rounds and runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import bdtr, chdtr, ndtr

from privacy.audit.likeness import combined, correlated, repeated
from privacy.noise import Noise
from privacy.randomness import Source

# Coordinates are looked at in so many blocks of neighbours, and in so many interleaved classes.
_BLOCKS, _CLASSES = 32, (2, 3, 4, 5, 7, 8, 16)
# Below this many values the tests of shape have no power and rest on limits that are far away.
_FEWEST = 64
_LENGTHS = (0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
_DEEP = 4  # releases, from which on a coordinate is looked at by itself
NOISE_LEVEL = 0.005  # chance that honest noise fails any of the tests, at most

MEAN, NEIGHBOURS, WIDTH, RELEASE = "mean", "neighbouring coordinates", "width", "width of a release"
PART, SHAPE, TAILS = "width of a part", "shape", "tails"
BETWEEN, COORDINATE = "between releases", "width of a coordinate"
_FEW = f"no release has {_FEWEST} values"
_UNSTATED = f"no release of {_FEWEST} values has a stated distribution"
# Why a test was not made, where it was not.
NOT_MADE: Mapping[str, str] = {
    MEAN: _FEW, NEIGHBOURS: _FEW, WIDTH: "the noise states no distribution",
    RELEASE: "the noise states no distribution", PART: _UNSTATED, SHAPE: _UNSTATED,
    TAILS: _UNSTATED, BETWEEN: f"no coordinates, {_FEWEST} or more, are released twice",
    COORDINATE: f"no coordinates, {_FEWEST} or more and of a stated distribution, are released "
                f"{_DEEP} times",
}


@dataclass(frozen=True)
class Residual:
    """Hold the noise of one release, or of one client's upload.

    columns: names the coordinates, so that releases of the same ones are compared. values: [dims]
    float64, in units of the stated standard deviation, and where the noise states its distribution,
    as the normal numbers of the same probability. stated: whether it does. alone: whether no other
    residual holds any of the same noise, so that they are independent together.
    """

    columns: str
    values: np.ndarray
    stated: bool = True
    alone: bool = True


def noise_tests(residuals: Sequence[Residual]) -> dict[str, float]:
    """Return p-values, by the name of the test, under the hypothesis that the noise is as stated.

    Without a stated distribution only the tests that need none are made, those of correlation by a
    normal limit. Each p-value is valid alone; `failures` looks at all of them together. Noise wider
    than stated is no fault.
    """
    large = [r for r in residuals if len(r.values) >= _FEWEST]
    stated = [r for r in residuals if r.stated]
    out: dict[str, float] = {}
    if large:
        out[MEAN] = combined([_mean(r.values) for r in large])
        out[NEIGHBOURS] = combined([_lags(r.values) for r in large])
    alone = [r.values for r in stated if r.alone]
    if alone:
        out[WIDTH] = float(width(np.concatenate(alone)))
    if stated:
        out[RELEASE] = combined([float(width(r.values)) for r in stated])
    shaped = [r for r in large if r.stated]
    if any(r.alone for r in shaped):
        out[TAILS] = _tails(np.concatenate([r.values for r in shaped if r.alone]))
    if shaped:
        out[PART] = combined([p for r in shaped for p in _parts(r.values)])
        out[SHAPE] = combined([_shape(r.values) for r in shaped])
    several = [rows for rows in _stacked(large) if len(rows) > 1]
    if several:
        out[BETWEEN] = combined([repeated(rows) for rows in several])
    deep = [np.stack(rows) for rows in _stacked(shaped) if len(rows) >= _DEEP]
    if deep:
        out[COORDINATE] = combined([_coordinates(rows) for rows in deep])
    return out


def _stacked(residuals: Sequence[Residual]) -> list[list[np.ndarray]]:
    """The values of releases of the same coordinates."""
    out: dict[str, list[np.ndarray]] = {}
    for residual in residuals:
        out.setdefault(residual.columns, []).append(residual.values)
    return list(out.values())


def as_stated(noise: Noise, draws: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return draws [...] as the normal numbers of the same probability, and True, where a noise
    states its distribution; the draws as they are, and False, where it does not."""
    normal = noise.as_normal(draws.reshape(-1))
    return (draws, False) if normal is None else (normal.reshape(draws.shape), True)


def width(values: np.ndarray) -> np.ndarray:
    """Return p-values [...] of normal numbers [..., dims] narrower than 1, by the chi-square law of
    a sum of squares."""
    return np.asarray(chdtr(values.shape[-1], np.square(values).sum(axis=-1)))


def sentence(tests: Mapping[str, float], failed: Sequence[str]) -> str:
    """Say which tests of the noise failed, with their p-values."""
    return ("the noise, or what it is added to, is not what is stated: " + ", ".join(
        f"{name} (p = {tests[name]:.2g})" for name in failed))


def dithered(values: np.ndarray, step: float, source: Source, label: str) -> np.ndarray:
    """Return values [...] of a grid with a uniform number of half a step to either side added.

    The laws that they are held to are of no grid, and between two of its points there is nothing:
    this fills it in, and only adds to the width. step: in the values' own units, 0 for none.
    """
    if not step:
        return values
    drawn = source.uniform(f"audit dither {label}", 0, values.size).reshape(values.shape)
    return values + step * (drawn - 0.5)


def failures(tests: Mapping[str, float], level: float) -> tuple[str, ...]:
    """Return the tests that fail at a joint level, by Holm's step-down (1979): the chance that an
    honest noise fails any is at most `level`, whatever the tests have in common. Raises ValueError
    for a p-value that is no number."""
    if any(math.isnan(p) for p in tests.values()):
        raise ValueError(f"a p-value is no number: {dict(tests)}")
    failed = []
    for rank, (name, p) in enumerate(sorted(tests.items(), key=lambda pair: pair[1])):
        if p > level / (len(tests) - rank):
            break
        failed.append(name)
    return tuple(failed)


def _two_sided(z: float, tests: int = 1) -> float:
    return min(1.0, 2 * float(ndtr(-abs(z))) * tests)


def _spread(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _mean(values: np.ndarray) -> float:
    """A drift, in the noise's own width: a normal limit for any distribution."""
    spread = _spread(values)
    return 0.0 if spread == 0 else _two_sided(values.mean() / spread * math.sqrt(len(values)))


def _parts(values: np.ndarray) -> list[float]:
    """Blocks of neighbours, and every k-th coordinate."""
    square = np.square(values)
    parts = [p for p in np.array_split(square, min(_BLOCKS, len(square) // 8)) if len(p)]
    parts += [square[start::k] for k in _CLASSES if len(square) >= 8 * k for start in range(k)]
    return [float(chdtr(len(part), part.sum())) for part in parts]


def _coordinates(rows: np.ndarray) -> float:
    """The narrowest coordinate over all releases."""
    dims = rows.shape[1]
    return min(1.0, float(width(rows.T).min()) * dims)


def _shape(values: np.ndarray) -> float:
    """Kolmogorov and Smirnov against the normal of the values' own width, which errs to a larger p
    (Lilliefors 1967)."""
    spread = _spread(values)
    return 0.0 if spread == 0 else float(stats.kstest(values / spread, "norm").pvalue)


def _tails(values: np.ndarray) -> float:
    """Too few values beyond each of some lengths, by the binomial law: light tails lack the long
    ones, heavy tails of the same width the middling ones. Wider noise has more, which is no fault.
    """
    size, lengths = len(values), np.abs(values)
    return combined([float(bdtr(int((lengths > z).sum()), size, 2 * float(ndtr(-z))))
                     for z in _LENGTHS])


def _lags(values: np.ndarray) -> float:
    """The largest correlation of coordinates at any distance: noise tiled, repeated, smeared."""
    spread = _spread(values)
    if spread == 0:
        return 0.0
    n = len(values)
    power = np.abs(np.fft.rfft(values / spread, 2 * n)) ** 2
    # Up to the half, and one more: the second half of an odd number begins there.
    lags = np.fft.irfft(power)[1 : n // 2 + 2]
    pairs = n - np.arange(1, len(lags) + 1)
    likely = np.abs(lags) / pairs * np.sqrt(pairs)
    worst = int(likely.argmax())
    return correlated(min(float(abs(lags[worst]) / pairs[worst]), 1.0), int(pairs[worst]),
                      len(lags))
