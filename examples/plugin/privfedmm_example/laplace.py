"""Laplace noise on a sum, with an event of its own that says what it costs.

A vector of d values with L2 norm at most C has L1 norm at most sqrt(d) C, so Laplace noise of scale
b is (sqrt(d) C / b)-DP (Dwork and Roth 2014, theorem 3.6). With z = sqrt(2) b / C, its standard
deviation over the bound, that is sqrt(2 d) / z a round. Rounds are composed by the Renyi divergence
of randomised response, which dominates every pure guarantee (Kairouz, Oh and Viswanath 2015).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from privacy import (
    Bound,
    ChainError,
    Charged,
    Event,
    Joint,
    NoiseEntry,
    Place,
    PricingError,
    Sampling,
    Scale,
    Source,
    Terms,
    Uploads,
    event_named,
    register_event,
    register_noise,
)
from privacy.accounting import Accountant
from privacy.noise import SERVER_ADDS_NOISE, SERVER_READS_ALL, Stream


class CentralLaplace(Event):
    """Laplace noise on a sum over everyone; sqrt(2 dims) / multiplier in pure epsilon."""

    name = "CentralLaplace"
    what = "a Laplace release"
    accountants: tuple[Accountant, ...] = ("rdp",)
    combines = False
    unsampled = "Laplace"

    def check(self, number: int, group: Sequence[Charged]) -> None:
        """Also refuses what does not say how many values it has."""
        super().check(number, group)
        if not group[0].dims:
            raise PricingError(f"round {number}: a Laplace release is priced by its dims")

    def pure(self, step: Joint) -> float:
        """Epsilon of one release at delta 0."""
        assert step.dims
        return math.sqrt(2 * step.dims) / step.noise_multiplier

    def curve(self, step: Joint, orders: np.ndarray) -> np.ndarray | None:
        one = self.pure(step)
        high, low = -np.log1p(math.exp(-one)), -np.log1p(math.exp(one))
        both = np.logaddexp(orders * high + (1 - orders) * low, orders * low + (1 - orders) * high)
        return np.asarray(both / (orders - 1))


@dataclass(frozen=True)
class LaplaceNoise:
    """Laplace noise of scale stddev / sqrt(2) on every value of the joint sum."""

    noise_multiplier: float
    sensitivity: float
    place: Place = Place.CENTRAL
    kind: ClassVar[str] = "Laplace"
    reason: ClassVar[str] = "Laplace noise calibrated before training"
    numbers: ClassVar[str] = "float64"
    drawn_from: ClassVar[Stream] = "uniform"
    needs_secure_sum: ClassVar[bool] = False
    against_server: ClassVar[bool] = False
    honest: ClassVar[int] = 0

    @property
    def stddev(self) -> float:
        return self.noise_multiplier * self.sensitivity

    def trust(self, hidden: bool) -> str:
        return SERVER_ADDS_NOISE if hidden else SERVER_READS_ALL

    def bound(self, before: Bound) -> Bound:
        if not self.sensitivity >= before.l2 * (1 - 1e-12) or before.noise_stddev:
            raise ChainError("clip before noise, and noise once")
        return replace(before, noise_stddev=self.stddev)

    def share(self, step: float) -> float:
        return 0.0

    def variances_on_sum(self, clients: float) -> float:
        return 1.0

    def stddev_on_sum(self, clients: float) -> float:
        return self.stddev

    def as_normal(self, draws: np.ndarray) -> np.ndarray:
        # By the smaller tail, which a double holds far out: P[|X| > x] = exp(-sqrt(2) x).
        return np.copysign(norm.isf(np.exp(-math.sqrt(2) * np.abs(draws)) / 2), draws)

    def event(self, sampling: Sampling) -> Event:
        return event_named(CentralLaplace.name)

    def terms(self, dims: int, limit: float | None) -> Terms:
        return Terms(dims=dims)

    def remade(self, noise_multiplier: float, sensitivity: float) -> LaplaceNoise:
        return replace(self, noise_multiplier=noise_multiplier, sensitivity=sensitivity)

    def on_clients(
        self, uploads: Uploads, scale: Scale, ids: np.ndarray, source: Source, round_: int
    ) -> Uploads:
        return uploads

    def on_sum(
        self, sums: Mapping[str, Tensor], scale: Scale, source: Source, round_: int
    ) -> dict[str, Tensor]:
        if not self.stddev:
            return dict(sums)
        out = {}
        for name, x in sums.items():
            # Off a grid a release carries its own scale; on one, whole steps of the joint one.
            unit = scale.step or scale.weights[name]
            u = source.uniform(name, round_, 2 * x.numel())
            drawn = np.log(u[::2]) - np.log(u[1::2])
            noise = torch.from_numpy(drawn * self.stddev / math.sqrt(2) / unit).reshape(x.shape)
            out[name] = x + noise.round().long() if scale.step else (x.double() + noise).float()
        return out


register_event(CentralLaplace())
LAPLACE = register_noise(NoiseEntry(
    "laplace", {Place.CENTRAL: lambda z, bound, shares: LaplaceNoise(z, bound)},
    "Dwork and Roth 2014, theorem 3.6", "Laplace noise on every value of a sum"))
