"""Define what may leave a client: named parts, each standing for one fixed-length vector a client.

A part holds a block of clients. Its compact form (touched rows, a slot number) is how the
simulator keeps memory small; `dense()` is the vector that the part stands for, and every
operation below gives what it would give on that vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor


class UploadError(ValueError):
    """Report an upload that was not declared, has another shape than declared, or is not finite."""


class Part(Protocol):
    """Hold a block of clients' vectors for one release."""

    def shape(self) -> tuple[int, ...]:
        """Return the shape of one client's vector."""
        ...

    def clients(self) -> int:
        """Return how many clients are in the block."""
        ...

    def add_to(self, total: Tensor) -> None:
        """Add the sum over the block's clients to `total`, in place."""
        ...

    def dense(self) -> Tensor:
        """Return the vectors themselves, [clients, *shape]."""
        ...

    def finite(self) -> bool:
        """Tell whether every value is finite."""
        ...

    def squared_norms(self) -> Tensor:
        """Return the squared L2 norm of each client's vector, float64 [clients]; not finite where
        it is."""
        ...

    def scaled(self, factor: Tensor) -> Part:
        """Return each client's vector times its factor [clients]; factor 0 also clears NaN."""
        ...

    def held(self) -> Tensor:
        """Return the values that are held, [clients, ...]; every other value of the vector is 0."""
        ...

    def holding(self, values: Tensor) -> Part:
        """Return the same part with other held values, of the shape of `held`."""
        ...

    def rows(self, where: Tensor) -> Part:
        """Return the part of some of the clients, by their places in the block [some]."""
        ...

    def nbytes(self) -> int:
        """Return the bytes of the compact form of the whole block, as it would travel."""
        ...


def flat(values: Tensor) -> Tensor:
    """Return values [clients, ...] as rows [clients, values of one]; of no clients, and of vectors
    that are a single number, as well."""
    return values[:, None].flatten(1)


def _squared(values: Tensor) -> Tensor:
    rows = flat(values)
    # One product per client; where float32 overflows the client counts as unusable.
    return torch.linalg.vecdot(rows, rows).double()


def _scaled(values: Tensor, factor: Tensor) -> Tensor:
    by = factor.reshape(-1, *[1] * (values.dim() - 1))
    if bool((factor == 0).any()):
        # 0 x NaN is NaN: a cleared client is replaced, not multiplied.
        values = torch.where(by == 0, 0.0, values)
    return values * by


def _finite(values: Tensor) -> bool:
    """Whether no value is infinite or NaN, which both ends of the range would show."""
    if not values.numel():
        return True
    low, high = torch.aminmax(values)
    return math.isfinite(low) and math.isfinite(high)


@dataclass(frozen=True)
class Dense:
    """Hold vectors in full: values [clients, *shape]."""

    values: Tensor

    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape[1:])

    def clients(self) -> int:
        return int(self.values.shape[0])

    def add_to(self, total: Tensor) -> None:
        total += self.values.sum(0)

    def dense(self) -> Tensor:
        return self.values

    def finite(self) -> bool:
        return _finite(self.values)

    def squared_norms(self) -> Tensor:
        return _squared(self.values)

    def scaled(self, factor: Tensor) -> Dense:
        return Dense(_scaled(self.values, factor))

    def held(self) -> Tensor:
        return self.values

    def holding(self, values: Tensor) -> Dense:
        return Dense(values)

    def rows(self, where: Tensor) -> Dense:
        return Dense(self.values[where])

    def nbytes(self) -> int:
        return self.values.numel() * self.values.element_size()


@dataclass(frozen=True)
class Touched:
    """Hold a table of `num_rows` rows a client of which only some rows changed.

    index [clients, L] int64 names the rows, values [clients, L, width] their values, and
    mask [clients, L] is 0 on padding, whose values must be 0.
    """

    index: Tensor
    values: Tensor
    mask: Tensor
    num_rows: int

    def shape(self) -> tuple[int, ...]:
        return (self.num_rows, int(self.values.shape[2]))

    def clients(self) -> int:
        return int(self.values.shape[0])

    def add_to(self, total: Tensor) -> None:
        total.index_add_(0, self.index.reshape(-1), self.values.reshape(-1, self.values.shape[2]))

    def dense(self) -> Tensor:
        clients, width = self.clients(), self.values.shape[2]
        out = torch.zeros(clients * self.num_rows, width, dtype=self.values.dtype)
        start = torch.arange(clients)[:, None] * self.num_rows
        out.index_add_(0, (start + self.index).reshape(-1), self.values.reshape(-1, width))
        return out.reshape(clients, self.num_rows, width)

    def finite(self) -> bool:
        return _finite(self.values)

    def squared_norms(self) -> Tensor:
        """Return the squared L2 norm of each client's table, float64 [clients]. Raises UploadError
        where a client names a row twice: its norm would be understated."""
        self.check_rows()
        return _squared(self.values)

    def check_rows(self) -> None:
        """Raise UploadError where a client names a row twice."""
        # Padding gets numbers of its own, beyond the table.
        spread = self.num_rows + torch.arange(self.index.shape[1])
        order = torch.where(self.mask > 0, self.index, spread).sort(dim=1).values
        if bool((order[:, 1:] == order[:, :-1]).any()):
            raise UploadError("an upload names a table row twice; add its values up first")

    def scaled(self, factor: Tensor) -> Touched:
        return Touched(self.index, _scaled(self.values, factor), self.mask, self.num_rows)

    def projected(self, basis: Tensor) -> Dense:
        """Return basis' x of each client's table [clients, r, width]; basis [num_rows, r]."""
        rows = basis.index_select(0, self.index.reshape(-1)).reshape(*self.index.shape, -1)
        return Dense(torch.bmm(rows.transpose(1, 2), self.values))

    def held(self) -> Tensor:
        return self.values

    def holding(self, values: Tensor) -> Touched:
        return Touched(self.index, values, self.mask, self.num_rows)

    def rows(self, where: Tensor) -> Touched:
        return Touched(self.index[where], self.values[where], self.mask[where], self.num_rows)

    def nbytes(self) -> int:
        # A row that travels is its number (4 bytes) and its values.
        per_row = 4 + self.values.shape[2] * self.values.element_size()
        return int(self.mask.sum().item()) * per_row


@dataclass(frozen=True)
class LowRank(Touched):
    """Hold touched rows that changed by a few outer products: values = left' right, client by
    client.

    left [clients, r, L], 0 on padding; right [clients, r, width]. The factors make a projection
    cheap and tell more than the vector does, so they stay on the device: `table` is what may leave
    it, and every operation inherited from Touched drops them.
    """

    left: Tensor
    right: Tensor

    def table(self) -> Touched:
        """Return the touched rows and their values, without the factors."""
        return Touched(self.index, self.values, self.mask, self.num_rows)

    def projected(self, basis: Tensor) -> Dense:
        """Project as for any touched rows, to float rounding: (basis' left') right."""
        clients, rank, length = self.left.shape
        columns = self.index[:, None, :].expand(-1, rank, -1).reshape(-1).numpy()
        starts = np.arange(0, self.left.numel() + 1, length)
        left = csr_array((self.left.reshape(-1).numpy(), columns, starts),
                         shape=(clients * rank, self.num_rows))
        inner = torch.from_numpy(left @ basis.numpy()).reshape(clients, rank, -1)
        return Dense(torch.bmm(inner.transpose(1, 2), self.right))


@dataclass(frozen=True)
class Slotted:
    """Hold a part placed in one of `slots` slots, the rest zero: the vector e_slot (x) part.

    One-hot placement does not change the norm, so a bound on the part is a bound on the vector.
    """

    slot: Tensor
    part: Dense | Touched
    slots: int

    def shape(self) -> tuple[int, ...]:
        return (self.slots, *self.part.shape())

    def clients(self) -> int:
        return self.part.clients()

    def add_to(self, total: Tensor) -> None:
        if isinstance(self.part, Dense):
            total.index_add_(0, self.slot, self.part.values)
            return
        rows, width = self.part.shape()
        index = self.slot[:, None] * rows + self.part.index
        flat = total.reshape(self.slots * rows, width)
        flat.index_add_(0, index.reshape(-1), self.part.values.reshape(-1, width))

    def dense(self) -> Tensor:
        dense = self.part.dense()
        out = torch.zeros(self.clients(), *self.shape(), dtype=dense.dtype)
        out[torch.arange(self.clients()), self.slot] = dense
        return out

    def finite(self) -> bool:
        return self.part.finite()

    def squared_norms(self) -> Tensor:
        return self.part.squared_norms()

    def scaled(self, factor: Tensor) -> Slotted:
        return Slotted(self.slot, self.part.scaled(factor), self.slots)

    def held(self) -> Tensor:
        return self.part.held()

    def holding(self, values: Tensor) -> Slotted:
        return Slotted(self.slot, self.part.holding(values), self.slots)

    def rows(self, where: Tensor) -> Slotted:
        return Slotted(self.slot[where], self.part.rows(where), self.slots)

    def nbytes(self) -> int:
        return self.part.nbytes() + 4 * self.clients()


class Collected:
    """Hold an individual release as the server has it: every block's part, with the senders."""

    def __init__(self) -> None:
        self.blocks: list[tuple[np.ndarray, Part]] = []

    def add(self, ids: np.ndarray, part: Part) -> None:
        """Keep the vectors of a block of clients, ids [block]."""
        self.blocks.append((ids, part))

    def dense(self, population: int) -> Tensor:
        """Return all vectors by client number [population, *shape]; zero where a client sent
        none."""
        out = torch.zeros(population, *self.blocks[0][1].shape())
        for ids, part in self.blocks:
            out[torch.from_numpy(ids)] = part.dense()
        return out

    def slot_sums(self, slot_of: np.ndarray, slots: int) -> Tensor:
        """Return the sum of the vectors of each slot's clients [slots, *shape]; slot_of
        [population]."""
        total = torch.zeros(slots, *self.blocks[0][1].shape())
        for ids, part in self.blocks:
            assert isinstance(part, Dense | Touched)
            Slotted(torch.from_numpy(slot_of[ids]), part, slots).add_to(total)
        return total


Uploads = Mapping[str, Part]
