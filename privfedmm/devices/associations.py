"""What goes with what: one matrix over public feature components, from everybody, in one release.

A user's items are points in a space that text and images span and in which popular items have mean
0 and covariance 1. With x an item and c the mean direction of those before it (where times are
known; of all others where they are not), a device uploads the sum of x c' over its items, at
length 1. The total A says what follows what: A c is the direction in which the next item lies, the
first step of a log-bilinear model from popularity. It is r x r, whatever the number of items.

Where noise is no concern, a second matrix, the sum of c c', turns the first step into the whole:
the ridge regression of the next item on those before it, SLIT (Choi et al. 2021) in r dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from privacy import Release, Role
from privfedmm.data.types import Rows
from privfedmm.devices.profiles import standardised

ASSOCIATIONS = "associations"
_MATRICES = 16_000_000  # floats of a block's matrices
_BLOCK = 2_000_000  # floats of a block's item points
_FORGOTTEN = 10  # half-lives after which an item no longer counts
_FLOOR = 1e-3  # added to the covariance of the space, in units of an average component


def space(components: Tensor, counts: Tensor) -> Tensor:
    """Transform components [items, r] to mean 0 and covariance 1 under the weights counts [items].
    """
    weight = (counts / counts.sum()).double()[:, None]
    scale = components.double().square().mean(0).sqrt().clamp(min=1e-9)
    centred = components.double() / scale
    centred = centred - (weight * centred).sum(0)
    covariance = (weight * centred).T @ centred + _FLOOR * torch.eye(len(scale)).double()
    turn = torch.linalg.cholesky(torch.linalg.inv(covariance))
    return (centred @ turn).float()


def shrunken(total: Tensor, noise_stddev: float) -> Tensor:
    """Shrink a noisy total [r, r] towards 0 where rows and columns hold little beyond the noise.

    The variance of an entry's signal is modelled as a product of its row's and its column's.
    """
    if not noise_stddev:
        return total
    signal = (total.square() - noise_stddev**2).clamp(min=0)
    across = signal.mean(1, keepdim=True) * signal.mean(0, keepdim=True)
    expected = across / signal.mean().clamp(min=1e-12)
    return total * expected / (expected + noise_stddev**2)


def regressed(total: Tensor, ridge: float) -> Tensor:
    """Return the matrix A [r, r] of the least-squares regression of x on c.

    total [2, r, r]: the sums of x c' and c c'. ridge: what is added to every variance of c, in
    units of their mean.
    """
    cross, before = total.double()
    # Rounding or noise must not leave a direction with less than no variance.
    values, vectors = torch.linalg.eigh((before + before.T) / 2)
    values = values.clamp(min=0)
    inverse = 1 / (values + ridge * values.mean().clamp(min=1e-9))
    return ((cross @ vectors) * inverse @ vectors.T).float()


class Associations:
    """Computes the devices' association matrices, and scores from the released one.

    components [items, r]: the public feature components. age: for each training interaction, how
    many later ones its user has (None without times). half_life: the half-life of an item's weight,
    in items.
    """

    def __init__(
        self, components: Tensor, train_rows: Rows, age: np.ndarray | None, half_life: float
    ) -> None:
        self._components, self._train = components, train_rows
        # Within each user's own stretch of the positives.
        self._order = None if age is None else train_rows.oldest_first(age)
        self._space: tuple[Tensor, Tensor] | None = None
        self._towards: Tensor | None = None  # what each client's next item is set against
        self._decay = 0.5 ** (1 / half_life)
        self._lags = math.ceil(_FORGOTTEN * half_life)

    @property
    def rank(self) -> int:
        """Return the number of components of the space."""
        return int(self._components.shape[1])

    @property
    def most_clients(self) -> int:
        """Return the number of clients whose matrices may be held side by side."""
        return max(1, _MATRICES // math.prod(self.release(0).shape))

    def release(self, round_: int) -> Release:
        """Declare the matrix as a release of one round."""
        return Release(ASSOCIATIONS, (self.rank, self.rank), rounds=(round_,),
                       role=Role.ASSOCIATIONS, meaning=(
            "public features of items against those of the items before, at length 1"))

    def upload(self, ids: np.ndarray, counts: Tensor) -> Tensor:
        """Return each client's matrix [m, r, r], of length 1, or 0 for a client with a single item.
        """
        out = torch.zeros(len(ids), self.rank, self.rank)
        for where, own, before in self._pairs(ids, counts):
            product = torch.bmm(own.transpose(1, 2), before)
            length = product.flatten(1).norm(dim=1).clamp(min=1e-9)
            out[where] = product / length[:, None, None]
        return out

    def scores(self, ids: np.ndarray, counts: Tensor, matrix: Tensor) -> Tensor:
        """Return how well each item follows the clients' items, standardised: [m, items]."""
        points = self._points(counts)
        if self._towards is None:
            everybody = np.arange(self._train.users)
            self._towards = torch.zeros(len(everybody), self.rank)
            for where, own in self._blocks(everybody, points):
                now = self._now(own)
                self._towards[where] = now / now.norm(dim=1, keepdim=True).clamp(min=1e-9)
        return standardised((self._towards[torch.from_numpy(ids)] @ matrix.T) @ points.T)

    def _pairs(self, ids: np.ndarray, counts: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """As `_blocks`, and for each item the direction of those before it [b, L, r]."""
        for where, own in self._blocks(ids, self._points(counts)):
            before = self._before(own)
            yield where, own, before / before.norm(dim=2, keepdim=True).clamp(min=1e-9)

    def _points(self, counts: Tensor) -> Tensor:
        # Popularity is released once, and every block of clients asks for its space.
        if self._space is None or not torch.equal(self._space[0], counts):
            self._space, self._towards = (counts, space(self._components, counts)), None
        return self._space[1]

    def _blocks(self, ids: np.ndarray, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Clients of like count: their places in ids, and their items' points [b, L, r], the
        latest last, 0 before the first."""
        counts = self._train.counts[ids]
        order = np.argsort(counts, kind="stable")
        start = 0
        while start < len(order):
            # The longest of a block is its last.
            lengths = counts[order[start:]].astype(np.int64)
            size = int(((np.arange(len(lengths)) + 1) * lengths * self.rank <= _BLOCK).sum())
            where = order[start : start + max(size, 1)]
            start += len(where)
            length = int(counts[where].max(initial=1))
            column = np.arange(length)[None, :] - (length - counts[where][:, None])
            row, place = np.nonzero(column >= 0)
            own = self._train.indptr[ids[where]][row] + column[row, place]
            items = self._train.indices[own if self._order is None else self._order[own]]
            block = torch.zeros(len(where), length, self.rank)
            block[torch.from_numpy(row), torch.from_numpy(place)] = points[
                torch.from_numpy(items.astype(np.int64))]
            yield torch.from_numpy(where), block

    def _before(self, own: Tensor) -> Tensor:
        """What each item is set against [b, L, r]: those before it, later ones more; or all
        others."""
        if self._order is None:
            here = (own != 0).any(2, keepdim=True)
            return (own.sum(1, keepdim=True) - own) * here
        out = torch.zeros_like(own)
        for lag in range(1, min(self._lags, own.shape[1] - 1) + 1):
            out[:, lag:] += self._decay ** (lag - 1) * own[:, :-lag]
        return out

    def _now(self, own: Tensor) -> Tensor:
        """What the next item is set against [b, r]."""
        if self._order is None:
            return own.sum(1)
        last = own[:, -self._lags :]
        weight = self._decay ** torch.arange(last.shape[1] - 1, -1, -1.0)
        return torch.einsum("l,blr->br", weight, last)


class Regressed(Associations):
    """Computes associations for the server's regression: two matrices a client, not of length 1."""

    def release(self, round_: int) -> Release:
        """Declare both matrices as a release of one round."""
        return Release(ASSOCIATIONS, (2, self.rank, self.rank), rounds=(round_,),
                       role=Role.ASSOCIATIONS, meaning=(
            "public features of items, and of those before, against those before; means over a "
            "user's items"))

    def upload(self, ids: np.ndarray, counts: Tensor) -> Tensor:
        """Return each client's means of x c' and c c' over its items: [m, 2, r, r]."""
        out = torch.empty(len(ids), 2, self.rank, self.rank)
        for where, own, before in self._pairs(ids, counts):
            items = torch.from_numpy(self._train.counts[ids[where.numpy()]]).clamp(min=1)
            both = torch.cat([own, before], 2).transpose(1, 2)
            product = torch.bmm(both, before / items[:, None, None])
            out[where] = product.view(-1, 2, self.rank, self.rank)
        return out
