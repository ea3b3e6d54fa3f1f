"""What a device computes from its own user's items and the public features; none of it is sent."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privfedmm.data.types import Rows


def _places(train: Rows, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every positive of the clients: the client's place in ids, and its own in train.indices."""
    counts = train.counts[ids]
    row = np.repeat(np.arange(len(ids)), counts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, train.indptr[ids][row] + within


def own_sum(
    train: Rows, ids: np.ndarray, table: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the sum of table rows [items, w] over each client's positives: [m, w].

    weights: float32, one for each positive of all users, in the order of train.indices; None weighs
    all by 1.
    """
    row, place = _places(train, ids)
    rows = table[torch.from_numpy(train.indices[place].astype(np.int64))]
    if weights is not None:
        rows = rows * weights[torch.from_numpy(place)][:, None]
    return torch.zeros(len(ids), table.shape[1]).index_add_(0, torch.from_numpy(row), rows)


def own_items(train: Rows, ids: np.ndarray, num_items: int) -> Tensor:
    """Return the indicator [m, items], which is one where a client has the item."""
    out = torch.zeros(len(ids), num_items)
    row, place = _places(train, ids)
    out[torch.from_numpy(row), torch.from_numpy(train.indices[place].astype(np.int64))] = 1.0
    return out


def profile(
    train: Rows, ids: np.ndarray, features: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the mean public feature of each client's positives, scaled to norm 1: [m, D]."""
    total = own_sum(train, ids, features, weights)
    return total / total.norm(dim=1, keepdim=True).clamp(min=1e-9)


def profile_cosine(
    train: Rows, ids: np.ndarray, unit: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the cosine [m, items] of every item's unit row with each client's profile.

    It is standardised over items.
    """
    return standardised(profile(train, ids, unit, weights) @ unit.T)


def standardised(scores: Tensor) -> Tensor:
    """Standardise each client's scores [m, items] to mean 0 and standard deviation 1 over items."""
    spread = scores.std(dim=1, keepdim=True).clamp(min=1e-9)
    return (scores - scores.mean(dim=1, keepdim=True)) / spread
