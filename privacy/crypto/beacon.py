"""A value that no single party chooses: each commits to a part, and all parts are shown after."""

from __future__ import annotations

import hashlib
import hmac
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


def drawn(run: bytes, commitments: Mapping[str, bytes], parts: Mapping[str, bytes]) -> bytes:
    """Return the value [32] of all parts: uniform if one party drew its part at random.

    Every party that committed must show its part. Whoever sees the others' parts first can keep its
    own back, so that there is no value, but cannot choose another (Blum, CRYPTO 1981, with as many
    parties as one likes and one try). Raises ProtocolError for a missing or a wrong part.
    """
    missing = sorted(commitments.keys() - parts.keys())
    if missing:
        raise ProtocolError(f"{', '.join(missing)} has not shown its part of the run's beacon")
    for party, part in parts.items():
        check(run, commitments, party, part)
    ordered = [piece for party in sorted(parts) for piece in (party.encode(), parts[party])]
    return hashlib.sha256(_framed(b"privfedmm beacon", run, *ordered)).digest()


def _framed(*pieces: bytes) -> bytes:
    return b"".join(len(piece).to_bytes(8, "little") + piece for piece in pieces)
