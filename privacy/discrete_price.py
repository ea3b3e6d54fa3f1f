"""Price a sum of discrete Gaussian shares by Renyi divergence."""

from __future__ import annotations

import math

import numpy as np


def gap(share_stddev: float, shares: int) -> float:
    """Return tau: how far a sum of discrete Gaussians is from one (Kairouz, Liu and Steinke
    2021)."""
    k = np.arange(1, shares, dtype=np.float64)
    return float(10 * np.exp(-2 * math.pi**2 * share_stddev**2 * k / (k + 1)).sum())


def renyi(
    alpha: float, noise_multiplier: float, shares: int, dims: int, limit: float
) -> float:
    """Return the Renyi divergence of order alpha of one release; limit: norm bound in steps.

    Kairouz, Liu and Steinke (ICML 2021, arXiv 2102.06387): the least of three bounds from
    l2 = 1 / noise_multiplier, l1 = min(sqrt(dims), limit) l2 and tau.
    """
    tau = gap(noise_multiplier * limit / math.sqrt(shares), shares)
    l2 = 1 / noise_multiplier
    l1 = min(math.sqrt(dims), limit) * l2
    return min(
        alpha / 2 * l2**2 + tau * dims,
        alpha / 2 * (l2**2 + 2 * l1 * tau + tau**2 * dims),
        alpha / 2 * (l2 + math.sqrt(dims) * tau) ** 2,
    )
