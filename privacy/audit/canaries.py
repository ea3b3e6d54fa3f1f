"""Make canaries: made-up clients whose uploads are known directions, in or out by secret coins.

Directions live in the joint vector that the clip bounds and the noise covers (projected and
weighted); uploads are lifted from there, and go through the same gate as everybody's.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import solve_triangular
from torch import Tensor

from privacy.audit.counts import AuditError
from privacy.randomness import SimulationSource, Source
from privacy.releases import Release
from privacy.transforms import Mechanism
from privacy.uploads import Dense, Uploads, flat


class AuditSource(SimulationSource):
    """Draw numbers from a public seed, in streams that no SimulationSource of whatever seed
    shares."""

    name = "audit"

    def __init__(self, seed: int) -> None:
        self._key = hashlib.sha256(f"privacy audit {seed}".encode()).digest()


def draw_coins(canaries: int, source: Source) -> np.ndarray:
    """Draw independent fair coins [canaries] bool: who is in. The training must never see them."""
    return source.uniform("audit coins", 0, canaries) <= 0.5


@dataclass(frozen=True)
class Layout:
    """Say where each release lies in the joint vector of one round.

    shapes: release -> shape of its part after a projection; weights as of the clip.
    """

    shapes: Mapping[str, tuple[int, ...]]
    weights: Mapping[str, float]
    bases: Mapping[str, Tensor]

    @property
    def dims(self) -> int:
        """Return the length of the joint vector."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def join(self, sums: Mapping[str, Tensor]) -> np.ndarray:
        """Place released totals (expanded, as handed out) in the joint vector, float64 [dims]."""
        parts = []
        for name in self.shapes:
            value = sums[name].double()
            if name in self.bases:
                value = self.bases[name].double().T @ value
            parts.append(value.reshape(-1) * self.weights[name])
        return torch.cat(parts).numpy()

    def join_rows(self, rows: Mapping[str, Tensor], step: float = 0.0) -> np.ndarray:
        """Place clients' vectors as they leave the device in the joint vector, float64
        [clients, dims].

        step: of the grid, whose integers are in the joint vector's scale already; 0 for none.
        """
        return torch.cat([flat(rows[name].double()) * (step or self.weights[name])
                          for name in self.shapes], dim=1).numpy()


def layout(releases: Sequence[Release], mechanism: Mechanism) -> Layout:
    """Lay out the joint vector of the releases of a round. Raises AuditError where there are
    none."""
    if not releases:
        raise AuditError("nothing is released in this round; there is nothing to audit")
    bases = mechanism.project.bases if mechanism.project else {}
    names = [release.name for release in releases]
    return Layout({r.name: mechanism.shape(r) for r in releases}, mechanism.clip.weights,
                  {n: b for n, b in bases.items() if n in names})


def draw_directions(canaries: int, dims: int, source: Source) -> np.ndarray:
    """Draw unit directions, float64 [canaries, dims].

    Orthonormal where canaries <= dims / 2, so that no canary disturbs another; beyond that
    independent Gaussian directions, whose overlaps only weaken the audit.
    """
    drawn = np.empty((canaries, dims))
    for row in range(canaries):
        # Row by row: the source's working memory is several times what it returns.
        drawn[row] = source.normal("audit directions", row, dims)
    if 2 * canaries <= dims:
        # Cholesky of the Gram matrix: Gram and Schmidt's rows without QR's copy of the lot. Of
        # Gaussian rows this many, its condition number stays below 40.
        gram = np.linalg.cholesky(drawn @ drawn.T)
        return solve_triangular(gram, drawn, lower=True, overwrite_b=True)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def signs(rounds: int) -> np.ndarray:
    """Return +1, -1, +1, ... [rounds]: the sign with which a canary uploads its direction.

    What is equal in consecutive rounds, benign signal or noise used twice, cancels in the
    scores; under fresh noise they are distributed as with constant signs.
    """
    return np.where(np.arange(rounds) % 2 == 0, 1.0, -1.0)


def canary_uploads(
    releases: Sequence[Release], where: Layout, directions: np.ndarray, norm: float
) -> Uploads:
    """Make uploads of the declared shapes whose joint vectors are directions [m, dims] times
    norm."""
    out, start = {}, 0
    for release in releases:
        shape = where.shapes[release.name]
        size = math.prod(shape)
        block = directions[:, start : start + size] * (norm / where.weights[release.name])
        part = torch.from_numpy(block).reshape(-1, *shape)
        if release.name in where.bases:
            part = torch.einsum("ir,mrw->miw", where.bases[release.name].double(), part)
        out[release.name] = Dense(part.float())
        start += size
    return out


def canary_scores(
    released: np.ndarray, directions: np.ndarray, sign: np.ndarray, noise_stddev: float,
    predicted: np.ndarray | None = None,
) -> np.ndarray:
    """Score each canary by sum_t sign_t <c_i, Y_t - P_t> / (noise_stddev sqrt T), [m].

    released [T, dims]; directions [m, dims]; sign [T]; predicted [T, dims]: benign signal to take
    away. A Gaussian mechanism gives an included canary a mean of mu = sqrt(T) / noise multiplier,
    and all of them a deviation of 1 from its noise. Raises AuditError where the noise is zero.
    """
    if not noise_stddev > 0:
        raise AuditError("scores are counted in noise deviations; the claimed noise is zero")
    rest = released if predicted is None else released - predicted
    return directions @ (sign @ rest) / (noise_stddev * math.sqrt(len(released)))


def predict_previous(released: np.ndarray) -> np.ndarray:
    """Predict each release by the one before: P_t = Y_{t-1}, [T, dims]. The first round, which
    nothing predicts, is left out (P_0 = Y_0).

    Only for canaries with alternating signs: constant ones would cancel.
    """
    return np.concatenate([released[:1], released[:-1]])


def predict_common(released: np.ndarray, components: int) -> np.ndarray:
    """Return the part of Y_t in the leading directions of the sums of consecutive rounds,
    [T, dims].

    Canaries with alternating signs cancel in those sums, so what leads there is benign. (The
    leading directions of the releases themselves would hold the canaries of a noiseless run.)
    """
    pairs = released[:-1] + released[1:]
    if components < 1 or not len(pairs):
        return np.zeros_like(released)
    leading = np.linalg.svd(pairs, full_matrices=False)[2][:components]
    return released @ leading.T @ leading
