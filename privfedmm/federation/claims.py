"""Whose users a node may speak for: those whose keys are on it, shown anew each time it is met.

The directory that all parties hold says which verify key every user has. The server sends each node
32 fresh bytes, and the node answers with one signature a user, so nobody's answer fits another
node, run or meeting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise

from privacy.crypto.keys import Identity, verify_signature
from privacy.errors import ProtocolError

CHALLENGE_BYTES = 32


def challenge() -> bytes:
    """Return what one node has to sign in one meeting, 32 bytes."""
    return os.urandom(CHALLENGE_BYTES)


def proofs(run: bytes, told: bytes, parties: Sequence[tuple[int, Identity]]) -> list[bytes]:
    """Return one signature [64] for each (number, its identity). told: the server's challenge."""
    return [identity.sign(_text(run, told, number)) for number, identity in parties]


def check_claim(
    run: bytes, told: bytes, numbers: Sequence[int], given: Sequence[bytes],
    keys: Mapping[int, bytes],
) -> None:
    """Check that a node has the keys of all parties that it claims.

    numbers: whom it claims. given: its `proofs`. keys: the verify key of each party, from the
    directory. Raises ProtocolError for numbers that do not rise, a party that is in no directory,
    and a signature that is not that party's.
    """
    if any(one >= two for one, two in pairwise(numbers)):
        raise ProtocolError("it claims clients out of order or twice")
    if len(given) != len(numbers):
        raise ProtocolError("it claims clients without one signature for each")
    for number, signature in zip(numbers, given, strict=True):
        key = keys.get(number)
        if key is None or not verify_signature(key, signature, _text(run, told, number)):
            raise ProtocolError(f"it claims client {number} and has not its key")


def _text(run: bytes, told: bytes, number: int) -> bytes:
    return b"privfedmm claim" + run + told + number.to_bytes(8, "little", signed=True)
