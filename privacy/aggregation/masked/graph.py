"""The mask graph: which clients mask and keep shares for each other, and how many they need."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy.stats import binom


@dataclass(frozen=True)
class Graph:
    """A circle of clients in public random order, each joined to the nearest on both sides.

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
        """The graph that a public 32-byte hash fixes; degree n - 1 gives the complete graph."""
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
        """The neighbours of a client, by slot."""
        return self._rows[place]

    @cached_property
    def _rows(self) -> list[list[int]]:
        there = self.place_on_circle[:, None] + self.offsets
        return self.order[there % len(self.order)].tolist()

    def mirror(self) -> list[int]:
        """slot -> the slot in which the neighbour of that slot keeps this client."""
        degree = len(self.offsets)
        if degree == len(self.order) - 1:
            return list(range(degree - 1, -1, -1))
        half = degree // 2
        return [*range(half, degree), *range(half)]

    def connected(self, members: int) -> bool:
        """Whether clients (bits of a number) hang together without the others.

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
    """The largest set within `members` of which each has `threshold` neighbours in the set."""
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


def choose_degree(
    n: int, dropout: float, colluding: float, log2_failure: float, *, active_server: bool = False
) -> tuple[int, int]:
    """The smallest (degree k, threshold t) whose failures are rarer than 2**-log2_failure.

    dropout, colluding: probabilities that a client vanishes, or hands all it knows to the
    server, independently. With B(k, p) binomial, and f = min(1, dropout + colluding):

        n P[B(k, 1 - dropout) < t]            < 2**-log2_failure    a secret cannot be recovered
        n P[B(k, colluding) >= t]             < 2**-log2_failure    a secret is read by colluders
        n (n - 1) / 2 f**k                    < 2**-log2_failure    honest survivors fall apart
        n P[B(k, colluding) > 2 t - k - 1]    < 2**-log2_failure    only with active_server

    The last makes two survivor lists with t signatures each impossible for a server that lies;
    without it the server is taken to be curious but to tell all clients the same. (Bell et al.,
    CCS 2020, section 3; the third line bounds two empty stretches of k/2 on the circle.) k is
    even, or n - 1 where only the complete graph will do. Where several t fit, the one that
    leaves the larger of the first two smallest is taken.
    Raises ValueError where even the complete graph fails.
    """
    if n < 3 or not 0 <= dropout < 1 or not 0 <= colluding < 1 or log2_failure <= 0:
        raise ValueError("needs n >= 3, rates from 0 to below 1 and log2_failure above 0")
    allowed, apart = 2.0**-log2_failure, min(1.0, dropout + colluding)
    for k in [*range(2, n - 1, 2), n - 1]:
        if k < n - 1 and n * (n - 1) / 2 * apart**k >= allowed:
            continue
        t = np.arange(2, k + 1)
        lost = n * binom.cdf(t - 1, k, 1 - dropout)
        read = n * binom.sf(t - 1, k, colluding)
        good = (lost < allowed) & (read < allowed)
        if active_server:
            good &= n * binom.sf(2 * t - k - 1, k, colluding) < allowed
        if good.any():
            worse = np.where(good, np.maximum(lost, read), np.inf)
            return k, int(t[int(np.argmin(worse))])
    raise ValueError(
        f"no degree up to {n - 1} keeps failures below 2**-{log2_failure:g} at a dropout of "
        f"{dropout:g} and {colluding:g} colluding: lower log2_failure or enlarge the cohort"
    )
