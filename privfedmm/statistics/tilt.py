"""A user's taste as an exponential tilt of what everybody likes, fitted on the device.

p_u(i) is proportional to exp(offset_i + u . f_i) with public item features f. The taste vector u
maximises the likelihood of the user's own items minus ridge |u|^2 / 2: concave, so that neither
start nor step decide where it ends. Nothing of it leaves the device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privfedmm.data.types import Rows

BLOCK = 512


def _places(train: Rows, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every positive of the clients: the client's place in ids, and its own in train.indices."""
    counts = train.counts[ids]
    row = np.repeat(np.arange(len(ids)), counts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, train.indptr[ids][row] + within


def own_sum(
    train: Rows, ids: np.ndarray, table: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Sum of table rows [items, w] over each client's positives: [m, w].

    weights [positives of everybody] float32, in the order of train.indices; None: all 1.
    """
    row, place = _places(train, ids)
    rows = table[torch.from_numpy(train.indices[place].astype(np.int64))]
    if weights is not None:
        rows = rows * weights[torch.from_numpy(place)][:, None]
    return torch.zeros(len(ids), table.shape[1]).index_add_(0, torch.from_numpy(row), rows)


def own_items(train: Rows, ids: np.ndarray, num_items: int) -> Tensor:
    """One where a client has the item: [m, items]."""
    out = torch.zeros(len(ids), num_items)
    row, place = _places(train, ids)
    out[torch.from_numpy(row), torch.from_numpy(train.indices[place].astype(np.int64))] = 1.0
    return out


def fit_tilt(
    train: Rows, ids: np.ndarray, offset: Tensor, features: Tensor, ridge: float, steps: int
) -> Tensor:
    """Taste vectors of clients ids: [m, r], from offset [items] and features [items, r].

    Gradient ascent with momentum, preconditioned by the curvature of a uniform choice.
    """
    count = torch.from_numpy(train.counts[ids].astype(np.float32))[:, None]
    target = own_sum(train, ids, features)
    curvature = count * features.var(0)[None] + ridge
    taste = torch.zeros(len(ids), features.shape[1])
    velocity = torch.zeros_like(taste)
    for _ in range(steps):
        chosen = torch.softmax(offset + taste @ features.T, dim=1)
        slope = target - count * (chosen @ features) - ridge * taste
        velocity = 0.5 * velocity + 0.5 * slope / curvature
        taste = taste + velocity
    return taste
