"""Weights of parts by softmax regression: what a user sends, and what the server makes of it.

With x [items, p] the parts of one user's scores and theta their weights, the item j that judges has
the likelihood softmax(x theta)_j over the items that could be recommended. A user's gradient is
x_j - E[x], its curvature Cov[x], both under that softmax: p + p (p + 1) / 2 numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

FURTHEST = 1.0  # that weights move in a step


def moments(parts: Tensor, item: Tensor, candidates: Tensor, theta: Tensor) -> Tensor:
    """Return each client's gradient and upper triangle of its curvature [m, p + p (p + 1) / 2].

    parts [m, items, p]; item [m]: the one that judges, -1 for none, whose row is 0; candidates
    [m, items] bool: what could be recommended, it among them; theta [p].
    """
    logits = (parts @ theta).masked_fill(~candidates, -torch.inf)
    chance = torch.softmax(logits, dim=1)
    mean = torch.einsum("mi,mip->mp", chance, parts)
    at = parts[torch.arange(len(parts)), item.clamp(min=0)]
    centred = parts - mean[:, None]
    curvature = torch.einsum("mi,mip,miq->mpq", chance, centred, centred)
    row, column = torch.triu_indices(len(theta), len(theta))
    out = torch.cat([at - mean, curvature[:, row, column]], dim=1)
    return out * (item >= 0)[:, None]


def stepped(
    theta: Tensor, total: Tensor, noise_stddev: float, start: Tensor, prior: float
) -> Tensor:
    """Return the weights [p] after a Newton step on a total of `moments`, noise included.

    They have the prior N(start, prior^2). noise_stddev: of every number of the total. In each
    direction of the curvature h, h times the way from `start` to the best weights is seen, under
    the noise and under that of the users who happen to be there, of variance h: the step goes to
    the posterior mean, by which a direction that noise has drowned stays at `start`. A step is no
    longer than FURTHEST: far from the best weights the curvature says little.
    """
    size = len(theta)
    gradient = total[:size].double()
    curvature = torch.zeros(size, size, dtype=torch.float64)
    row, column = torch.triu_indices(size, size)
    curvature[row, column] = total[size:].double()
    curvature = curvature + curvature.T - torch.diag(curvature.diagonal())
    values, vectors = torch.linalg.eigh(curvature)
    # A sum of covariances has no negative direction; noise may have made some.
    values = values.clamp(min=0)
    way = theta.double() - start.double()
    seen = vectors.T @ gradient + values * (vectors.T @ way)
    trusted = values**2 + (noise_stddev**2 + values) / prior**2
    move = vectors @ (seen * values / trusted.clamp(min=1e-12)) - way
    move *= (FURTHEST / move.norm().clamp(min=1e-12)).clamp(max=1)
    return (theta.double() + move).float()
