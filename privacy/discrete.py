"""Add discrete Gaussian noise in shares: every client adds an integer, and the sum hides each.

The discrete Gaussian has mass proportional to exp(-k^2 / (2 stddev^2)) on the integers (Canonne,
Kamath and Steinke, NeurIPS 2020). A sample inverts the table of the distribution function at 64
uniform bits: each differs from the exact distribution by at most 2^-64 a table entry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import mpmath
import numpy as np
import torch
from torch import Tensor

from privacy.bounds import Bound, ChainError
from privacy.charged import Terms
from privacy.events import DISTRIBUTED, Event, event_named
from privacy.noise import Scale, Stream
from privacy.places import Place
from privacy.randomness import Source
from privacy.sampling import Sampling
from privacy.uploads import Dense, Uploads

SMALLEST_SHARE = 4.0  # below it, a sum of shares is no longer close to one discrete Gaussian
_WIDTH = 9.5  # standard deviations; the tail beyond has mass below 2^-64
LARGEST_SHARE = 4096.0


@lru_cache(maxsize=8)
def thresholds(stddev: float) -> np.ndarray:
    """Tabulate the distribution function of the discrete Gaussian x 2^64 on -w..w-1, w = 9.5
    stddev.

    Returns uint64 [2w]. Raises ValueError outside (0, 4096], for which no table is made.
    """
    if not 0 < stddev <= LARGEST_SHARE:
        raise ValueError(f"a discrete Gaussian of standard deviation {stddev:g} steps is not "
                         f"tabled; it must be in (0, {LARGEST_SHARE:g}]: change secure.levels")
    width = math.ceil(_WIDTH * stddev) + 1
    with mpmath.workdps(40):
        scale = -1 / (2 * mpmath.mpf(stddev) ** 2)
        half = [mpmath.exp(scale * k * k) for k in range(width + 1)]
        mass = half[:0:-1] + half
        total, running, out = mpmath.fsum(mass), mpmath.mpf(0), []
        for value in mass[:-1]:
            running += value
            out.append(min(int(mpmath.floor(running / total * 2**64)), 2**64 - 1))
    return np.array(out, dtype=np.uint64)


def sample(stddev: float, raw: bytes) -> np.ndarray:
    """Draw discrete Gaussian integers, int32 [n], one from every 8 of 8 n uniform bytes.

    Raises ValueError for a standard deviation, in steps, for which no table is made.
    """
    table = thresholds(stddev)
    words = np.frombuffer(raw, dtype=np.uint64)
    # Count of thresholds <= word: the inverse of the distribution function.
    return (np.searchsorted(table, words, side="right") - (len(table) // 2)).astype(np.int32)


@dataclass(frozen=True)
class DistributedNoise:
    """Add each client's share of discrete Gaussian noise to its integers on the device.

    Any `shares` of the shares together have standard deviation noise_multiplier x sensitivity:
    provisioned for the fewest honest clients whose uploads may be in a sum. More of them mean more
    noise, never less. Raises ChainError for a multiplier outside [0, inf) and for fewer shares than
    1.
    """

    noise_multiplier: float
    sensitivity: float
    shares: int
    place: Place = Place.DISTRIBUTED
    kind = "discrete Gaussian"
    reason = "Gaussian noise calibrated before training"
    numbers = "integer"
    drawn_from: ClassVar[Stream] = "raw"
    needs_secure_sum = True
    against_server = True

    def __post_init__(self) -> None:
        if not 0 <= self.noise_multiplier < math.inf:
            raise ChainError(f"noise_multiplier must be 0 or more, got {self.noise_multiplier}")
        if self.shares < 1:
            raise ChainError("distributed noise needs at least one honest client; lower "
                             "secure.dropout or secure.colluding")

    @property
    def stddev(self) -> float:
        """Return the absolute standard deviation of `shares` shares in the joint vector."""
        return self.noise_multiplier * self.sensitivity

    def share_stddev(self, step: float) -> float:
        """Return the standard deviation of one share, in steps."""
        return self.stddev / (step * math.sqrt(self.shares))

    @property
    def honest(self) -> int:
        """Return the fewest clients whose shares must be in every sum; 0 without noise."""
        return self.shares if self.stddev else 0

    def share(self, step: float) -> float:
        """Return the standard deviation of one share, in steps; 0 without noise."""
        return self.share_stddev(step)

    def trust(self, hidden: bool) -> str:
        """Say who is trusted: the server with the protocol alone, and `shares` clients with their
        share."""
        return ("each device adds a share of the noise inside a secure sum; the server is trusted "
                f"with nothing but the protocol, and {self.shares} clients of those in every sum "
                "are assumed to add their share honestly")

    def variances_on_sum(self, clients: float) -> float:
        """Return the noise's variance as a multiple of stddev^2: more clients than `shares` mean
        more noise than stated."""
        return clients / self.shares

    def stddev_on_sum(self, clients: float) -> float:
        """Return the absolute standard deviation of the noise on a sum over that many clients."""
        return self.stddev * math.sqrt(self.variances_on_sum(clients))

    def as_normal(self, draws: np.ndarray) -> np.ndarray:
        """Return the draws [n]: of a standard deviation of a step or more they are normal on a
        grid."""
        return draws

    def event(self, sampling: Sampling) -> Event:
        """Return DistributedDiscreteGaussian: no sampling amplifies it, for the server sees who
        sends."""
        return event_named(DISTRIBUTED)

    def terms(self, dims: int, limit: float | None) -> Terms:
        """Return the shares, the values and the bound in steps; all of them enter tau."""
        return Terms(self.shares, dims, limit)

    def remade(self, noise_multiplier: float, sensitivity: float) -> DistributedNoise:
        """Return the same noise of another multiplier, for another bound."""
        return replace(self, noise_multiplier=noise_multiplier, sensitivity=sensitivity)

    def on_clients(
        self, uploads: Uploads, scale: Scale, ids: np.ndarray, source: Source, round_: int
    ) -> Uploads:
        """Add each client's share to its integers; they stay as they are without noise."""
        if not self.stddev:
            return uploads
        return self.on_rows(uploads, scale.step, ids, source, round_)

    def on_sum(
        self, sums: Mapping[str, Tensor], scale: Scale, source: Source, round_: int
    ) -> dict[str, Tensor]:
        """Return the sums as they are: the noise came in the uploads."""
        return dict(sums)

    def bound(self, before: Bound) -> Bound:
        """Return the bound after the noise. Raises ChainError off the grid, for a smaller bound,
        too coarse a grid, or twice."""
        if not before.grid:
            raise ChainError("quantise before distributed noise: its shares are integers")
        if self.sensitivity < before.l2 * (1 - 1e-12):
            raise ChainError(f"the noise is made for a bound of {self.sensitivity:g}, but the "
                             f"steps before it only give {before.l2:g}")
        if before.noise_stddev:
            raise ChainError("noise once: a second draw is a second release")
        if self.stddev and self.share_stddev(before.grid) < SMALLEST_SHARE:
            raise ChainError(f"a share of the noise has standard deviation "
                             f"{self.share_stddev(before.grid):.2f} steps, below "
                             f"{SMALLEST_SHARE:g}: raise secure.levels")
        if self.share_stddev(before.grid) > LARGEST_SHARE:
            raise ChainError(f"a share of the noise has standard deviation "
                             f"{self.share_stddev(before.grid):.0f} steps, above the "
                             f"{LARGEST_SHARE:g} that are tabled: lower secure.levels")
        return replace(before, noise_stddev=self.stddev)

    def on_rows(
        self, uploads: Uploads, step: float, ids: np.ndarray, source: Source, round_: int
    ) -> dict[str, Dense]:
        """Add each client's own share to every value of its integers, from the client's own
        stream."""
        stddev, out = self.share_stddev(step), {}
        for name, part in uploads.items():
            rows = part.dense()
            size = rows[0].numel()
            noise = np.empty((len(ids), size), dtype=np.int32)
            for row, client in enumerate(ids.tolist()):
                noise[row] = sample(stddev, source.raw(f"{name} {client}", round_, 8 * size))
            out[name] = Dense(rows + torch.from_numpy(noise).reshape(rows.shape))
        return out
