"""A client's training samples of one round: its positives and negatives, each item once.

Because no item occurs twice, sample and touched item row are the same thing: local training
needs no gather and no scatter, and memory grows with touched rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from privfedmm.base.settings import LocalSettings
from privfedmm.base.streams import draw_below
from privfedmm.data.types import Rows

# Floats a block's item rows may take: two or three such tensors stay within a few tens of MB.
BLOCK_SAMPLES = 49_152


@dataclass(frozen=True)
class Samples:
    """Holds the training samples of a block of m clients, padded to L a client.

    ids [m]: the client numbers. items [m, L]: int64. labels, mask [m, L]: float32, 0 on padding.
    positive [m, L]: int64, the place of a positive among all training positives, -1 elsewhere.
    """

    ids: np.ndarray
    items: Tensor
    labels: Tensor
    mask: Tensor
    positive: Tensor


@dataclass(frozen=True)
class Warm:
    """Holds the items that training may draw from, where some are cold.

    items [w]: the indices of the warm items. rows: the positives, numbered among the warm items
    alone.
    """

    items: np.ndarray
    rows: Rows


def warm_items(train: Rows, cold: np.ndarray | None) -> Warm | None:
    """Return the items that `cold` [items] does not mark, or None where no item is cold.

    `train` must hold no cold item.
    """
    if cold is None:
        return None
    place = np.cumsum(~cold) - 1
    rows = Rows(train.indptr, place[train.indices].astype(np.int32))
    return Warm(np.flatnonzero(~cold), rows)


def sample_counts(train: Rows, num_items: int, per_positive: int) -> np.ndarray:
    """Return the number of samples of each client [n]: its positives and its negatives.

    A client has `per_positive` negatives a positive, or fewer where not so many items are left.
    """
    positives = train.counts
    return positives + np.minimum(per_positive * positives, num_items - positives)


def padded_length(count: np.ndarray) -> np.ndarray:
    """Return the length that clients of `count` [n] samples are padded to: int64 [n].

    It is the next step of about 1/8, from 32 on. It depends on the client alone, and at 32 values
    no client's share of a block ends inside a vector register, where kernels round otherwise: a
    client trained by itself and in a block has the same bits, on the processors that were tried, so
    a shard of users adds up the same integers as the simulator.
    """
    count = np.maximum(count, 1)  # a client without rows is padding alone
    step = np.maximum(32, 2 ** np.floor(np.log2(count)).astype(np.int64) // 8)
    return np.asarray(-(-count // step) * step)


def blocks(
    ids: np.ndarray, counts: np.ndarray, most: int = BLOCK_SAMPLES
) -> Iterator[np.ndarray]:
    """Yield clients of equal padded length in blocks of at most `most`, each in ascending order.

    No block holds more than BLOCK_SAMPLES samples, unless it is of one client.
    """
    lengths = padded_length(counts[ids])
    for length in np.unique(lengths):
        members = ids[lengths == length]
        size = min(max(1, BLOCK_SAMPLES // int(length)), most)
        for start in range(0, len(members), size):
            yield members[start : start + size]


def draw_samples(
    train: Rows,
    ids: np.ndarray,
    num_items: int,
    settings: LocalSettings,
    seed: int,
    round_: int,
    warm: Warm | None = None,
) -> Samples:
    """Draw the samples of clients ids [m] in a round, shuffled where training goes in batches.

    warm: the only items that negatives are drawn from; None draws from all.
    """
    if warm is not None:
        num_items = len(warm.items)
    positives = train.counts[ids]
    total = sample_counts(train, num_items, settings.negatives_per_positive)[ids]
    length = int(padded_length(total).max())
    column = np.arange(length)[None, :]
    is_positive = column < positives[:, None]
    mask = column < total[:, None]

    items = np.zeros((len(ids), length), dtype=np.int64)
    positive = np.full((len(ids), length), -1, dtype=np.int64)
    row, place = np.nonzero(is_positive)
    positive[row, place] = train.indptr[ids][row] + place
    items[row, place] = train.indices[train.indptr[ids][row] + place]
    row, place = np.nonzero(mask & ~is_positive)
    order = place - positives[row]
    free = num_items - positives
    if settings.negatives == "fresh":
        width = int((total - positives).max(initial=0))
        drawn = draw_below(seed, "negatives", round_, ids, free, width)
        order = drawn[row, order]
    if warm is None:
        items[row, place] = _complement(train, ids, num_items, row, order)
    else:
        items[row, place] = warm.items[_complement(warm.rows, ids, num_items, row, order)]

    labels = is_positive.astype(np.float32)
    if settings.batch_size and settings.batch_size < length:
        perm = _shuffle(ids, total, length, seed, round_)
        items = np.take_along_axis(items, perm, axis=1)
        labels = np.take_along_axis(labels, perm, axis=1)
        positive = np.take_along_axis(positive, perm, axis=1)
    return Samples(
        ids,
        torch.from_numpy(items),
        torch.from_numpy(labels),
        torch.from_numpy(mask.astype(np.float32)),
        torch.from_numpy(positive),
    )


def _complement(
    train: Rows, ids: np.ndarray, num_items: int, row: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """The order-th item (from 0) that client ids[row] has not interacted with.

    With positives s_0 < s_1 < ..., that item is order + #{k: s_k - k <= order}.
    """
    counts = train.counts[ids]
    starts = np.concatenate([[0], np.cumsum(counts)])
    owner = np.repeat(np.arange(len(ids)), counts)
    rank = np.arange(starts[-1]) - starts[owner]
    shifted = train.indices[train.indptr[ids][owner] + rank] - rank
    stride = num_items + 1
    below = np.searchsorted(owner * stride + shifted, row * stride + order, side="right")
    return np.asarray(order + below - starts[row])


def _shuffle(
    ids: np.ndarray, total: np.ndarray, length: int, seed: int, round_: int
) -> np.ndarray:
    perm = np.broadcast_to(np.arange(length), (len(ids), length)).copy()
    drawn = draw_below(seed, "batches", round_, ids, total, int(total.max()))
    used = np.arange(drawn.shape[1])[None, :] < total[:, None]
    perm[:, : drawn.shape[1]][used] = drawn[used]
    return perm
