"""Group sums denoised over text and image: the linear fusion, fitted in closed form.

A group's preference for an item is f_i . b + e_i with b ~ N(0, fused_std^2 I) and
e_i ~ N(0, item_std^2); a released sum is expected x preference + noise of known variance. Both are
Gaussian, so the posterior mean is exact, one small system a group. Noise and priors are public:
all of it is post-processing.
"""

from __future__ import annotations

import torch
from torch import Tensor


def fuse(
    sums: Tensor, expected: Tensor, variance: Tensor, features: Tensor, fused_std: float,
    item_std: float,
) -> Tensor:
    """Return the posterior mean preference [K, items] from sums, expected and variance [K, items].
    """
    # In units of preference an item's noise variance is variance / expected^2; written with
    # precisions, an item that nobody was expected to choose says nothing and divides by nothing.
    precision = expected**2 / (variance + item_std**2 * expected**2)
    seen = sums * expected / (variance + item_std**2 * expected**2)  # precision x observed
    fused = torch.zeros_like(sums)
    if fused_std and features.shape[1]:
        f = features.double()
        prior = torch.eye(f.shape[1], dtype=f.dtype) / fused_std**2
        for group in range(len(sums)):
            system = (f * precision[group].double()[:, None]).T @ f + prior
            fused[group] = (f @ torch.linalg.solve(system, f.T @ seen[group].double())).float()
    return fused + item_std**2 * (seen - precision * fused)
