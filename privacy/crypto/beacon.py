"""A value that no single party chooses: each commits to a part, and the parts are shown after.

The parts of parties that are away are left out, as long as enough are there. Whoever gathers the
parts sees them before it says which are left out, so it chooses, but among the sets that are large
enough and nothing else (`choices`): a party cannot change the part that it committed to, and it
committed before any other was shown (Blum, CRYPTO 1981). Each of these sets, taken by itself, gives
a uniform value where one party of it drew its part at random and kept it to itself until all had
committed, for the value is a hash of all its parts. So what befalls one uniform value with chance p
befalls one or more of the values with chance `choices` * p at most, however cleverly one is picked
(a union bound). Two things follow for whoever uses a value: a set must have more parts than there
are parties that may conspire, and the chance of a failure must be counted `choices` times.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
from collections.abc import Mapping

from privacy.errors import ProtocolError

PART_BYTES = 32


def fresh_part() -> bytes:
    """Return a party's own part, 32 bytes from the operating system, to be kept until it is shown.
    """
    return os.urandom(PART_BYTES)


def commit(run: bytes, party: str, part: bytes) -> bytes:
    """Return the commitment [32] to a party's part: it hides the part, and fits no other.

    run: the bytes that name the run. party: its name, so that a copied commitment is of no use.
    """
    return hashlib.sha256(_framed(b"privfedmm beacon part", run, party.encode(), part)).digest()


def check(run: bytes, commitments: Mapping[str, bytes], party: str, part: bytes) -> None:
    """Check a part that a party shows. Raises ProtocolError where it did not commit to it."""
    if party not in commitments:
        raise ProtocolError(f"{party} shows a part of the run's beacon, and is none of its parties")
    if len(part) != PART_BYTES or not hmac.compare_digest(
            commit(run, party, part), commitments[party]):
        raise ProtocolError(f"{party} shows another part of the run's beacon than it committed to")


def choices(parties: int, fewest: int) -> int:
    """Return how many values there are to choose from: sets of so many parties, or more."""
    return sum(math.comb(parties, size) for size in range(max(fewest, 1), parties + 1))


def drawn(
    run: bytes, commitments: Mapping[str, bytes], parts: Mapping[str, bytes], fewest: int
) -> bytes:
    """Return the value [32] of these parts: uniform if one party drew its part at random.

    fewest: how many parts there must be. Raises ProtocolError for fewer, and for a wrong one.
    """
    for party, part in parts.items():
        check(run, commitments, party, part)
    missing = sorted(commitments.keys() - parts.keys())
    if len(parts) < max(fewest, 1):
        has = "has not shown its part" if len(missing) == 1 else "have not shown their parts"
        raise ProtocolError(f"{', '.join(missing) or 'nobody'} {has} of the run's beacon: it is "
                            f"drawn from {fewest} of {len(commitments)} parts at least, and "
                            f"{len(parts)} are there")
    ordered = [piece for party in sorted(parts) for piece in (party.encode(), parts[party])]
    return hashlib.sha256(_framed(b"privfedmm beacon", run, *ordered)).digest()


def _framed(*pieces: bytes) -> bytes:
    return b"".join(len(piece).to_bytes(8, "little") + piece for piece in pieces)
