"""Round clipped vectors to integers: stochastic rounding to a grid, within a stated norm.

The conditional rounding of Kairouz, Liu and Steinke (ICML 2021, arXiv 2102.06387): a vector of norm
x (in steps) is rounded coordinate by coordinate, up with the probability of its fraction, and the
whole again until its norm is at most

    c = min(x + sqrt(d), sqrt(x^2 + d/4 + sqrt(2 ln(1/beta)) (x + sqrt(d)/2)))

which one try meets with probability at least 1 - beta. What is released is bounded by c whatever
was drawn, so the rounding needs no share of the budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from privacy.bounds import Bound, ChainError
from privacy.errors import CapacityError
from privacy.randomness import Source
from privacy.uploads import Part, Uploads

RING_BITS = 32
_LOG_INVERSE_BETA = 0.5
_TRIES = 200  # each fails with probability at most .61
TAIL = 12.0  # standard deviations of a sum's noise that must still fit


@dataclass(frozen=True)
class Quantise:
    """Round the joint vector, of `dims` values, to integer multiples of `step`; zero stays zero.

    Raises ChainError for a step that is not positive and finite, and for dims below 1.
    """

    step: float
    dims: int

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf:
            raise ChainError(f"the quantisation step must be positive, got {self.step}")
        if self.dims < 1:
            raise ChainError(f"a vector has at least one value, got dims {self.dims}")

    def limit(self, l2: float) -> float:
        """Return the bound on the norm of a rounded vector, in steps, from one of norm l2 before
        it."""
        x, root = l2 / self.step, math.sqrt(self.dims)
        likely = x * x + self.dims / 4 + math.sqrt(2 * _LOG_INVERSE_BETA) * (x + root / 2)
        return min(x + root, math.sqrt(likely))

    def bound(self, before: Bound) -> Bound:
        """Return the bound after rounding. Raises ChainError without a clip before it, after noise,
        or a second time."""
        if not math.isfinite(before.l2):
            raise ChainError("clip before quantise: nothing bounds what would be rounded")
        if before.grid or before.noise_stddev:
            raise ChainError("quantise once, before the noise")
        return replace(before, l2=self.limit(before.l2) * self.step, grid=self.step)

    def apply(
        self, uploads: Uploads, weights: Mapping[str, float], l2: float, ids: np.ndarray,
        source: Source, round_: int,
    ) -> dict[str, Part]:
        """Round the uploads of clients ids [block] to parts of int32 values, in steps of the joint
        vector.

        l2: norm bound before rounding. The draws of a client come from its own stream, whatever
        block it is in. Raises ChainError where no rounding lies within its bound.
        """
        exact = {n: p.held().double() * (weights[n] / self.step) for n, p in uploads.items()}
        rounded = {n: torch.zeros(x.shape, dtype=torch.int32) for n, x in exact.items()}
        squared = self.limit(l2) ** 2
        left = torch.arange(len(ids))
        for attempt in range(_TRIES):
            norms = torch.zeros(len(left), dtype=torch.float64)
            for name, x in exact.items():
                label = f"round {name} {attempt}"
                up = _uniforms(source, label, round_, ids[left.numpy()], x[0].numel())
                whole = torch.floor(x[left] + up.reshape(len(left), *x.shape[1:]))
                rounded[name][left] = whole.int()
                norms += whole.reshape(len(left), -1).square().sum(1)
            left = left[norms > squared]
            if not len(left):
                return {n: uploads[n].holding(x) for n, x in rounded.items()}
        raise ChainError("rounding found no vector within its bound: was the upload clipped?")

    def again(self, uploads: Uploads, limit: float) -> Uploads:
        """Turn each client's integers of a norm beyond `limit`, in steps, to zero.

        They cannot be scaled on their grid. What `apply` returned comes back as it is.
        """
        squared = torch.zeros((), dtype=torch.float64)
        for part in uploads.values():
            squared = squared + part.held().double().reshape(part.clients(), -1).square().sum(1)
        # The comparison of `apply`, but for the last bits of the limit.
        inside = squared <= limit**2 * (1 + 1e-12)
        if bool(inside.all()):
            return uploads
        return {n: p.holding(p.held() * inside.to(p.held().dtype).reshape(
            -1, *[1] * (p.held().dim() - 1))) for n, p in uploads.items()}

    def decode(
        self, totals: Mapping[str, Tensor], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Turn integer totals into float32 in each part's own scale."""
        return {n: (x.double() * (self.step / weights[n])).float() for n, x in totals.items()}


def _uniforms(source: Source, label: str, round_: int, ids: np.ndarray, size: int) -> Tensor:
    """Uniform numbers in [0, 1) on a grid of 2^-32, float64 [clients, size]."""
    out = np.empty((len(ids), size), dtype=np.uint32)
    for row, client in enumerate(ids.tolist()):
        raw = source.raw(f"{label} {client}", round_, 4 * size)
        out[row] = np.frombuffer(raw, dtype=np.uint32)
    return torch.from_numpy(out.astype(np.float64) * 2.0**-32)


def check_capacity(clients: int, limit: float, noise_stddev: float) -> None:
    """Check that a sum over `clients` integer vectors fits the ring; figures in steps.

    A value of the sum is at most clients x limit, and its noise stays within 12 standard deviations
    (of the noise of all clients together) but for a chance below 1e-32. Raises CapacityError where
    it does not fit.
    """
    largest = clients * limit + TAIL * noise_stddev
    if largest >= 2 ** (RING_BITS - 1):
        fits = int((2 ** (RING_BITS - 1) - TAIL * noise_stddev) / limit)
        raise CapacityError(
            f"{clients} clients may sum to {largest:.3g} steps, and the ring holds "
            f"{2 ** (RING_BITS - 1)}; at this resolution {max(fits, 0)} clients fit: lower "
            "secure.levels")


def most_levels(clients: int) -> int:
    """Return the largest power of two, at most 2^22, of steps in a clip norm that `clients` can
    sum."""
    return int(2 ** min(22, math.floor(math.log2(2 ** (RING_BITS - 2) / clients))))
