"""The mask graph: which clients mask and keep shares for each other, and how many they need."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


@dataclass(frozen=True)
class Graph:
    """Place clients on a circle in public random order, each joined to the nearest on both sides.

    The Harary graph of Bell et al. (CCS 2020, section 3). Clients are places 0..n-1 in the
    cohort. A neighbour has a slot 0..degree-1 by its distance on the circle; share number
    slot + 1 of a client is the one that the neighbour in that slot keeps.
    """

    order: np.ndarray
    offsets: np.ndarray
    place_on_circle: np.ndarray
    _answers: dict[int, bool] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, n: int, degree: int, public_hash: bytes) -> Graph:
        """Return the graph that a public 32-byte hash fixes; degree n - 1 gives the complete graph.
        """
        stream = Cipher(algorithms.AES(public_hash), modes.CTR(bytes(16))).encryptor()
        order = np.argsort(np.frombuffer(stream.update(bytes(8 * n)), dtype="<u8"), kind="stable")
        if degree == n - 1:
            offsets = np.arange(1, n)
        else:
            half = np.arange(1, degree // 2 + 1)
            offsets = np.concatenate([half, -half])
        circle = np.empty(n, dtype=np.int64)
        circle[order] = np.arange(n)
        return cls(order, offsets, circle)

    def neighbours(self, place: int) -> list[int]:
        """Return the neighbours of a client, by slot."""
        return self._rows[place]

    @cached_property
    def _rows(self) -> list[list[int]]:
        there = self.place_on_circle[:, None] + self.offsets
        return self.order[there % len(self.order)].tolist()

    def mirror(self) -> list[int]:
        """Return slot -> the slot in which the neighbour of that slot keeps this client."""
        degree = len(self.offsets)
        if degree == len(self.order) - 1:
            return list(range(degree - 1, -1, -1))
        half = degree // 2
        return [*range(half, degree), *range(half)]

    def connected(self, members: int) -> bool:
        """Tell whether clients (bits of a number) hang together without the others.

        They fall apart where two or more stretches of the circle, each of half a degree or
        longer, are empty: a sum opened then would be a sum for every piece.
        """
        if members not in self._answers:
            n = len(self.order)
            if len(self.offsets) == n - 1:
                return members != 0
            # Kept for the last question alone: all clients of a process ask the same one.
            self._answers.clear()
            bits = np.unpackbits(
                np.frombuffer(members.to_bytes(-(-n // 8), "little"), dtype=np.uint8),
                count=n, bitorder="little",
            )
            on = np.flatnonzero(bits[self.order])
            gaps = np.diff(on, append=on[:1] + n)
            self._answers[members] = bool(len(on) and (gaps > len(self.offsets) // 2).sum() <= 1)
        return self._answers[members]


def sustained(graph: Graph, members: int, threshold: int) -> int:
    """Return the largest set within `members` of which each has `threshold` neighbours in the set.
    """
    n = len(graph.order)
    inside = np.zeros(n, dtype=bool)
    inside[:] = np.unpackbits(
        np.frombuffer(members.to_bytes(-(-n // 8), "little"), dtype=np.uint8),
        count=n, bitorder="little",
    )[graph.order].astype(bool)
    while True:
        alive = sum((np.roll(inside, -int(o)) for o in graph.offsets), np.zeros(n, dtype=np.int64))
        weak = inside & (alive < threshold)
        if not weak.any():
            break
        inside &= ~weak
    back = np.packbits(inside[graph.place_on_circle], bitorder="little")
    return int.from_bytes(back.tobytes(), "little")
