"""Whose clients are whose: an owner drops out whole, and sides with the server whole."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Owners:
    """Say who holds the clients of a run, and how many of them may side with the server.

    An owner holds the devices or the node of its clients, and so all that they know: whoever sides
    with the server brings all its clients. sizes: clients of each owner, whose numbers follow each
    other from 0; None: every client is its own. nodes: how many owners, whichever they are, may
    side with the server. share: the part of all clients, in [0, 1), that colluding owners may hold
    together where that is more than the largest `nodes` of them hold.
    Raises ValueError for sizes below 1 and shares outside [0, 1).
    """

    sizes: tuple[int, ...] | None = None
    nodes: int = 1
    share: float = 0.0

    def __post_init__(self) -> None:
        if self.sizes is not None and (not self.sizes or min(self.sizes) < 1):
            raise ValueError(f"every owner has one client or more, got {self.sizes}")
        if self.nodes < 0 or not 0 <= self.share < 1:
            raise ValueError("owners that collude are counted from 0, their share is in [0, 1)")

    def held(self, ids: Iterable[int]) -> list[int]:
        """Return how many of these clients each owner holds, the largest first.

        ids: the numbers of a cohort's clients. Raises ValueError for a client of no owner.
        """
        numbers = np.asarray(list(ids), dtype=np.int64)
        if self.sizes is None:
            return [1] * len(numbers)
        ends = np.cumsum(self.sizes)
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= ends[-1]):
            raise ValueError(f"owners hold {ends[-1]} clients, and a client outside of them is "
                             "asked for")
        owner = np.searchsorted(ends, numbers, side="right")
        counts = np.bincount(owner, minlength=len(self.sizes))
        return sorted((int(count) for count in counts if count), reverse=True)

    def within(self, clients: int) -> int:
        """Return the most owners that hold so many clients together, or fewer: the smallest.

        Raises ValueError where no sizes are stated.
        """
        if self.sizes is None:
            raise ValueError("owners without sizes cannot be counted")
        return int(np.searchsorted(np.cumsum(sorted(self.sizes)), clients, side="right"))

    def colluding(self, ids: Iterable[int]) -> int:
        """Return the most clients of a cohort that may side with the server."""
        held = self.held(ids)
        share = math.ceil(self.share * sum(held) - 1e-9)
        return min(max(sum(held[:self.nodes]), share), sum(held))
