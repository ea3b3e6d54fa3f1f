"""Add Gaussian noise, on the sum or on each client's own vector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from privacy.bounds import Bound, ChainError
from privacy.charged import Terms
from privacy.events import Event, LocalGaussian, event_named
from privacy.noise import (
    NOBODY_TRUSTED,
    SERVER_ADDS_NOISE,
    SERVER_READS_ALL,
    Scale,
    Stream,
)
from privacy.places import Place
from privacy.randomness import Source
from privacy.sampling import Sampling
from privacy.uploads import Dense, Uploads

# What the grid may add to the bound, as a part of it; the noise is wider by twice as much, which
# also covers the floating-point errors with which a vector is brought to the grid.
_FINE = 2.0**-13


def grid_of(sensitivity: float, dims: int) -> float:
    """Return the step of the grid that vectors of `dims` values are rounded to before noise.

    Two vectors at a distance of at most C, each rounded to multiples of a step g, are at most
    C + g sqrt(dims) apart, for |rint(a) - rint(b)| <= |a - b| + 1. g is the largest power of two
    with g sqrt(dims) <= 2^-13 C, so that dividing by it is exact.
    """
    return 2.0 ** math.floor(math.log2(_FINE * sensitivity / math.sqrt(max(dims, 1))))


@dataclass(frozen=True)
class GaussianNoise:
    """Add N(0, (noise_multiplier * sensitivity)^2) to every value of the joint vector.

    What it is added to is an integer, and so is the noise: a vector off a grid is first rounded to
    one so fine that its bound grows by 2^-13 (`grid_of`), for which the noise is wider by 2^-12,
    and the noise is rounded to that grid. An integer plus the rounded noise is the rounded sum of
    both, so a release is a function of a Gaussian release and has its price; and no last bit of a
    floating-point number tells what it was added to (Mironov, CCS 2012).

    place: `central` on the sum, `local` on each client's own vector; in shares inside a secure sum
    it is `DistributedNoise`. noise_multiplier 0 adds nothing, and no guarantee follows. Raises
    ChainError for a multiplier outside [0, inf).
    """

    noise_multiplier: float
    sensitivity: float
    place: Place = Place.CENTRAL

    def __post_init__(self) -> None:
        if not 0 <= self.noise_multiplier < math.inf:
            raise ChainError(f"noise_multiplier must be 0 or more, got {self.noise_multiplier}")
        object.__setattr__(self, "place", Place(self.place))  # a word from settings will do

    @property
    def stddev(self) -> float:
        """Return the absolute standard deviation in the joint vector."""
        return self.noise_multiplier * self.sensitivity

    kind = "Gaussian"
    reason = "Gaussian noise calibrated before training"
    numbers = "integer"
    drawn_from: ClassVar[Stream] = "normal"
    needs_secure_sum = False
    honest = 0

    @property
    def against_server(self) -> bool:
        """Tell whether the guarantee holds against the server: only where it never sees a bare
        sum."""
        return self.place.alone

    def trust(self, hidden: bool) -> str:
        """Say who is trusted with what; hidden: whether the server learns sums only."""
        if self.place.alone:
            return NOBODY_TRUSTED
        return SERVER_ADDS_NOISE if hidden else SERVER_READS_ALL

    def bound(self, before: Bound) -> Bound:
        """Return the bound after the noise. Raises ChainError without a clip, for a smaller clip,
        or a second time."""
        if not math.isfinite(before.l2):
            raise ChainError("clip before noise: nothing bounds what the noise should hide")
        if self.place.alone and before.grid:
            raise ChainError("local noise leaves no grid: drop the quantise step, a client that "
                             "trusts nobody needs no secure sum")
        if self.sensitivity < before.l2 * (1 - 1e-12):
            raise ChainError(f"the noise is made for a bound of {self.sensitivity:g}, but the "
                             f"steps before it only give {before.l2:g}")
        if before.noise_stddev:
            raise ChainError("noise once: a second draw is a second release")
        return replace(before, noise_stddev=self.stddev)

    def share(self, step: float) -> float:
        """Return 0: no noise of a client's own enters a sum on a grid of that step."""
        return 0.0

    def variances_on_sum(self, clients: float) -> float:
        """Return 1 for the one draw on a central sum, `clients` for one draw on each local
        vector."""
        return clients if self.place.alone else 1.0

    def stddev_on_sum(self, clients: float) -> float:
        """Return the absolute standard deviation of the noise on a sum over that many clients."""
        return self.stddev * math.sqrt(self.variances_on_sum(clients))

    def as_normal(self, draws: np.ndarray) -> np.ndarray:
        """Return the draws [n]: they are normal, but for the grid, which only adds to them."""
        return draws

    def event(self, sampling: Sampling) -> Event:
        """Return LocalGaussian, or the Gaussian release that the sampling makes of it."""
        return event_named(LocalGaussian.name if self.place.alone else sampling.event)

    def terms(self, dims: int, limit: float | None) -> Terms:
        """Return no terms: a Gaussian's price is in its multiplier."""
        return Terms()

    def remade(self, noise_multiplier: float, sensitivity: float) -> GaussianNoise:
        """Return the same noise of another multiplier, for another bound."""
        return replace(self, noise_multiplier=noise_multiplier, sensitivity=sensitivity)

    def on_clients(
        self, uploads: Uploads, scale: Scale, ids: np.ndarray, source: Source, round_: int
    ) -> Uploads:
        """Add local noise to every client's vector; for central noise the uploads stay as they
        are."""
        if not self.place.alone or not self.stddev:
            return uploads
        return self.on_rows(uploads, scale.weights, ids, source, round_)

    def on_sum(
        self, sums: Mapping[str, Tensor], scale: Scale, source: Source, round_: int
    ) -> dict[str, Tensor]:
        """Add central noise to every sum, on the grid where the sums lie on one."""
        if not self.place.on_sum:
            return dict(sums)
        if not scale.step:
            return self.on_sums(sums, scale.weights, source, round_)
        return {n: self.on_grid(x, scale.step, source, n, round_) for n, x in sums.items()}

    def on_sums(
        self, sums: Mapping[str, Tensor], weights: Mapping[str, float], source: Source, round_: int
    ) -> dict[str, Tensor]:
        """Add noise of stddev / weight to the sum of each release."""
        if not self.stddev:
            return dict(sums)
        step = grid_of(self.sensitivity, sum(x.numel() for x in sums.values()))
        return {
            n: self._noisy(x, weights[n], step, source, n, round_).float() for n, x in sums.items()
        }

    def on_grid(
        self, total: Tensor, step: float, source: Source, label: str, round_: int
    ) -> Tensor:
        """Add the noise, in steps, to an integer total [...] and round to the grid.

        The total lies on the grid already, so this is the rounding of the noisy total:
        post-processing, which also hides the last bits of the floating-point draw.
        """
        if not self.stddev:
            return total
        drawn = source.normal(label, round_, total.numel()) * (self.stddev / step)
        return total + torch.from_numpy(np.rint(drawn).astype(np.int64)).reshape(total.shape)

    def on_rows(
        self, uploads: Uploads, weights: Mapping[str, float], ids: np.ndarray, source: Source,
        round_: int,
    ) -> Uploads:
        """Add each client's own noise to its vector, in full length: no row stays untouched."""
        out = {}
        dense = {name: part.dense() for name, part in uploads.items()}
        values = sum(rows[0].numel() for rows in dense.values())
        step = grid_of(self.sensitivity, values)
        for name, rows in dense.items():
            label = f"{name}|{int(ids[0])}|{len(ids)}"
            out[name] = Dense(
                self._noisy(rows, weights[name], step, source, label, round_).float())
        return out

    def _noisy(
        self, exact: Tensor, weight: float, step: float, source: Source, label: str, round_: int
    ) -> Tensor:
        """Values on the grid of the joint vector, plus noise on that grid, in the release's own
        scale; float64."""
        integers = torch.round(exact.double() * (weight / step))
        wide = self.stddev * (1 + 2 * _FINE) / step
        noise = np.rint(source.normal(label, round_, exact.numel()) * wide)
        return (integers + torch.from_numpy(noise).reshape(exact.shape)) * (step / weight)
