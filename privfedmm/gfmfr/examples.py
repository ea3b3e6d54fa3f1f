"""One interaction as one training example, and noisy training over a client's examples.

An example is a positive with negatives of its own, drawn from all other items by a stream that is
named by user and item: leaving an interaction out changes its own example and no other. All of a
user's parameters that feed an upload are trained on clipped sums with noise (privacy.on_device).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from privacy import OnDevice
from privfedmm.backbones import Backbone
from privfedmm.base.settings import LocalSettings
from privfedmm.base.streams import bits
from privfedmm.data.types import Rows
from privfedmm.devices.samples import padded_length
from privfedmm.gfmfr.client import Rates

# Floats that a block's largest tensors may take.
BLOCK_FLOATS = 4_000_000
_TWO_32 = 2**32


@dataclass(frozen=True)
class Examples:
    """Holds the training examples of a block of m clients, padded to P a client.

    ids [m]: the client numbers. items [m, P, 1 + N]: int64, the positive first. mask [m, P]: 0 on
    padding.
    """

    ids: np.ndarray
    items: Tensor
    mask: Tensor


def draw_examples(
    train: Rows, ids: np.ndarray, num_items: int, negatives: int, seed: int, round_: int
) -> Examples:
    """Draw the examples of clients ids [m] in a round.

    Negatives are uniform over all items but the positive, with replacement, whatever else the user
    has: drawn from what the user lacks, they would tell of every other interaction.
    """
    counts = train.counts[ids]
    length = max(int(padded_length(counts).max(initial=0)), 1)
    held = np.arange(length)[None, :] < counts[:, None]
    row, place = np.nonzero(held)
    positive = train.indices[train.indptr[ids][row] + place].astype(np.int64)
    # Two interactions 2^32 apart would share their draws, which are public in any case.
    name = (ids[row] * num_items + positive) % _TWO_32
    words = bits(seed, "example negatives", round_, name, negatives).astype(np.uint64)
    others = ((words * np.uint64(num_items - 1)) >> np.uint64(32)).astype(np.int64)
    items = np.zeros((len(ids), length, 1 + negatives), dtype=np.int64)
    items[row, place, 0] = positive
    items[row, place, 1:] = others + (others >= positive[:, None])
    return Examples(ids, torch.from_numpy(items), torch.from_numpy(held.astype(np.float32)))


def example_blocks(
    ids: np.ndarray, counts: np.ndarray, per_example: int, per_client: int
) -> Iterator[np.ndarray]:
    """Yield clients of like example count, so that a block's tensors stay within BLOCK_FLOATS."""
    lengths = np.maximum(padded_length(counts[ids]), 1)
    for length in np.unique(lengths):
        members = ids[lengths == length]
        size = max(1, BLOCK_FLOATS // (int(length) * per_example + per_client))
        for start in range(0, len(members), size):
            yield members[start : start + size]


class Directions:
    """Writes an item gradient over all rows, or in a public subspace of them.

    basis: orthonormal [items, r], or None for the whole table (r = items). An example's gradient of
    the table is a (x) e: a, its residuals by item, and e, the user vector with a 1 for the bias.
    """

    def __init__(self, basis: Tensor | None, num_items: int, items: Tensor) -> None:
        self.rank = num_items if basis is None else int(basis.shape[1])
        self._items = items
        self._flat = items.flatten(1)
        self._rows = None if basis is None else basis[items]  # [m, P, L, r]

    def squared_norms(self, residual: Tensor) -> Tensor:
        """Return the squared norm of a for each example, float64 [m, P].

        An item that an example names twice counts as one.
        """
        if self._rows is not None:
            return self._projected(residual).double().square().sum(2)
        same = (self._items[..., :, None] == self._items[..., None, :]).double()
        by = residual.double()
        return torch.einsum("mpl,mpk,mplk->mp", by, by, same)

    def summed(self, residual: Tensor) -> Tensor:
        """Return the sum of a over each client's examples [m, r]."""
        if self._rows is not None:
            return torch.einsum("mplr,mpl->mr", self._rows, residual)
        out = torch.zeros(len(residual), self.rank)
        return out.scatter_add_(1, self._flat, residual.flatten(1))

    def rows(self, change: Tensor) -> Tensor:
        """Return the change [m, P, L, width] of the rows that the examples name.

        change [m, r, width]: the change of the table, by direction.
        """
        m, p, length = self._items.shape
        if self._rows is not None:
            flat = self._rows.reshape(m, p * length, self.rank)
            return torch.bmm(flat, change).reshape(m, p, length, -1)
        index = self._flat[:, :, None].expand(-1, -1, change.shape[2])
        return change.gather(1, index).reshape(m, p, length, -1)

    def _projected(self, residual: Tensor) -> Tensor:
        assert self._rows is not None
        return torch.einsum("mplr,mpl->mpr", self._rows, residual)


@dataclass
class Trained:
    """Holds what noisy training changes on the device.

    user [m, d]: the user vectors. change [m, r, width]: the change of the item table. Both are
    updated in place. loss [m]: the training losses.
    """

    user: Tensor
    change: Tensor
    loss: Tensor


def residuals(backbone: Backbone, user: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivative of each example's log loss by its logits, and the losses.

    The derivatives are [m, P, L], the losses [m, P].
    """
    m, p, length, width = rows.shape
    logits = backbone.logits(user, rows.reshape(m, p * length, width), {}).reshape(m, p, length)
    label = torch.zeros(length)
    label[0] = 1.0
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, label.expand_as(logits), reduction="none")
    return torch.sigmoid(logits) - label, loss.sum(2)


def train_examples(
    backbone: Backbone,
    user: Tensor,
    table: Tensor,
    basis: Tensor | None,
    examples: Examples,
    device: OnDevice,
    settings: LocalSettings,
    rate: Rates,
    round_: int,
) -> Trained:
    """Take noisy full-batch steps on user vectors [m, d] and a change of the broadcast table.

    Each step releases, to the device's own later steps, the sum of its examples' clipped gradients
    by user vector and table together, with noise on every value of both.
    """
    where = Directions(basis, len(table), examples.items)
    start, (m, d), width = table[examples.items], user.shape, table.shape[1]
    out = Trained(user.clone(), torch.zeros(m, where.rank, width), torch.zeros(m))
    for step in range(device.steps):
        rows = start + where.rows(out.change) if step else start
        residual, loss = residuals(backbone, out.user, rows)
        extended = torch.cat([out.user, torch.ones(m, 1)], dim=1)
        by_user = torch.einsum("mpl,mpld->mpd", residual, rows[..., :d])
        squared = by_user.double().square().sum(2) + (
            where.squared_norms(residual) * extended.double().square().sum(1)[:, None])
        factor = device.factors(squared) * examples.mask
        # 0 x NaN is NaN: an unusable example is replaced, not multiplied.
        unused = factor[:, :, None] == 0
        for_user = torch.where(unused, 0.0, by_user * factor[:, :, None]).sum(1)
        clipped = torch.where(unused, 0.0, residual * factor[:, :, None])
        for_items = where.summed(clipped)[:, :, None] * extended[:, None, :]
        noise = device.noise(examples.ids, d + where.rank * width, round_, step)
        for_user = for_user + noise[:, :d]
        for_items = for_items + noise[:, d:].reshape(for_items.shape)
        out.user.mul_(1 - rate.user * settings.weight_decay_user).sub_(for_user, alpha=rate.user)
        out.change.sub_(for_items, alpha=rate.items)
        out.loss = (loss * examples.mask).sum(1)
    samples = examples.mask.sum(1).clamp(min=1) * examples.items.shape[2]
    out.loss /= samples
    return out


def train_home(
    backbone: Backbone, user: Tensor, table: Tensor, examples: Examples, settings: LocalSettings,
    rate: Rates,
) -> Tensor:
    """Train user vectors [m, d] without noise on the broadcast table, for scores on the device.

    They feed no upload.
    """
    rows, user = table[examples.items], user.clone()
    for _ in range(settings.epochs):
        residual, _ = residuals(backbone, user, rows)
        residual = residual * examples.mask[:, :, None]
        gradient = torch.einsum("mpl,mpld->md", residual, rows[..., : user.shape[1]])
        user.mul_(1 - rate.user * settings.weight_decay_user).sub_(gradient, alpha=rate.user)
    return user
