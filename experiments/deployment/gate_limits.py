"""What strangers may hold at the gate: it answers before anybody has shown who they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class GateLimits:
    """These are the most that the gate holds, of one peer (an address) and of all together.

    headers: bytes of a request's headers. request: bytes of its body; Flower cuts messages into
    pieces of 5 MB. peer_bytes, all_bytes: of bodies that are held, those that are whole and wait
    for the SuperLink's answer included. peer_connections, all_connections: open connections.
    seconds: that a connection may take for a whole request, from its opening or its last answer.
    """

    headers: int = 16 * 2**10
    request: int = 8 * 2**20
    peer_bytes: int = 32 * 2**20
    all_bytes: int = 128 * 2**20
    peer_connections: int = 64
    all_connections: int = 512
    seconds: float = 30.0


class Counted:
    """This counts something that peers take and give back, up to a limit for each and for all.

    sum: what all have taken.
    """

    def __init__(self, each: int, together: int) -> None:
        self._each, self._together = each, together
        self._taken: Counter[str] = Counter()
        self.sum = 0

    def take(self, peer: str, amount: int) -> bool:
        """Take an amount for a peer; with False there was not so much left, and none is taken."""
        if self._taken[peer] + amount > self._each or self.sum + amount > self._together:
            self._give(peer, 0)
            return False
        self._taken[peer] += amount
        self.sum += amount
        return True

    def give(self, peer: str, amount: int) -> None:
        """Give back what was taken."""
        self.sum -= amount
        self._give(peer, amount)

    def _give(self, peer: str, amount: int) -> None:
        self._taken[peer] -= amount
        # Of a peer that has nothing no trace is kept: there may be very many.
        if not self._taken[peer]:
            del self._taken[peer]
