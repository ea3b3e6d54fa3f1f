"""Centroids that clients pick from, and Lloyd's algorithm on them, one step a round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from privfedmm.base.streams import normal


@dataclass(frozen=True)
class Centroids:
    """Holds the broadcast centres [groups, D], and the mean signal [D] to subtract.

    angular: with True the nearest centre is found by angle after subtracting the mean, and centres
    have norm 1; otherwise it is found by distance, and a centre is its members' mean (Lloyd 1982).
    """

    centres: Tensor
    mean: Tensor
    angular: bool = True


def initial_centroids(
    signals: Tensor | None, groups: int, dim: int, seed: int, angular: bool = True
) -> Centroids:
    """Find centres from public item features [items, D] by k-means, or draw random ones.

    Random directions stand in without features, or where fewer rows than groups are distinct.
    """
    if signals is not None:
        # Items without features are no kind of item; a centre among them would draw users.
        signals = signals[(signals != 0).any(1)]
    if signals is not None and _distinct(signals) >= groups:
        from sklearn.cluster import KMeans

        fitted = KMeans(groups, n_init=4, random_state=seed % 2**32).fit(signals.numpy())
        centres = torch.from_numpy(fitted.cluster_centers_.astype(np.float32))
    else:
        drawn = normal(seed, "centroids", 0, np.arange(groups), dim)
        centres = torch.from_numpy(drawn)
    return Centroids(_unit(centres) if angular else centres, torch.zeros(dim), angular)


def _distinct(signals: Tensor) -> int:
    """Rows that differ by more than rounding."""
    if not signals.numel():
        return 0
    steps = signals / signals.abs().max().clamp(min=1e-9) * 1e5
    return len(torch.unique(steps.round(), dim=0))


def assign(signals: Tensor, centroids: Centroids) -> Tensor:
    """Return the group that each client picks, int64 [m], by signals [m, D]: the nearest centre,
    and the first at a tie."""
    if not centroids.angular:
        # |s - c|^2 without |s|^2, which is the same for every centre.
        square = centroids.centres.square().sum(1)
        return (signals @ centroids.centres.T - square / 2).argmax(dim=1)
    return (_unit(signals - centroids.mean) @ centroids.centres.T).argmax(dim=1)


def lloyd_step(
    centroids: Centroids, counts: Tensor, sums: Tensor, min_size: float
) -> Centroids:
    """Return new centres from counts [groups] and sums [groups, D] of uncentred signals.

    A group below min_size is given half of the largest one: its centre restarts beside it. With
    noisy counts min_size must lie above what noise alone can bring.
    """
    if not centroids.angular:
        return _plain_step(centroids, counts, sums, min_size)
    mean = sums.sum(0) / counts.sum().clamp(min=1)
    centres = centroids.centres.clone()
    big = counts >= min_size
    centres[big] = _unit(sums[big] / counts[big, None] - mean)
    if bool(big.any()):
        largest = int(torch.where(big, counts, torch.zeros_like(counts)).argmax())
        for small in torch.nonzero(~big)[:, 0].tolist():
            # Step from the crowded centre along the direction of the abandoned one.
            centres[small] = _unit((centres[largest] + 0.5 * centres[small])[None])[0]
    return Centroids(centres, mean)


def _plain_step(
    centroids: Centroids, counts: Tensor, sums: Tensor, min_size: float
) -> Centroids:
    big = counts >= max(min_size, 1)
    mean = sums / counts.clamp(min=1)[:, None]
    centres = torch.where(big[:, None], mean, centroids.centres)
    if bool(big.any()):
        largest = int(torch.where(big, counts, torch.zeros_like(counts)).argmax())
        middle = (centres[largest] + centroids.centres) / 2
        centres = torch.where(big[:, None], centres, middle)
    return Centroids(centres, centroids.mean, angular=False)


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-9)
