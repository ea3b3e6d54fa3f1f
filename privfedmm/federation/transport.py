"""What carries bytes between the server and the nodes, whoever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

# One a stage; the exchanges of a round are the three in the middle.
PREPARE, SHARE, UPLOAD, SIGN, UNMASK, RANKS = (
    "prepare", "share", "upload", "sign", "unmask", "ranks")
KINDS = (PREPARE, SHARE, UPLOAD, SIGN, UNMASK, RANKS)


class Transport(Protocol):
    """Carries requests to nodes and answers back; a node that does not answer in time is left out.
    """

    def nodes(self) -> list[int]:
        """Return the numbers of the connected nodes."""
        ...

    def exchange(self, kind: str, bodies: Mapping[int, bytes]) -> dict[int, bytes]:
        """Send each node its body, and return the answers by node."""
        ...
