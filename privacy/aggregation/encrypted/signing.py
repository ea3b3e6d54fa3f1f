"""Ed25519 signatures over packed statements (RFC 8032)."""

from __future__ import annotations

from privacy.aggregation.messages import Body, pack
from privacy.crypto.keys import Directory, Identity, verify_signature
from privacy.errors import ProtocolError


def sign(identity: Identity, statement: Body) -> bytes:
    """Return the signature of a statement, 64 bytes.

    A statement names its purpose, so that none fits another.
    """
    return identity.sign(pack(statement))


def check_signed(directory: Directory, party: int, statement: Body, signature: bytes) -> None:
    """Check that a party of the directory signed exactly this statement.

    Raises ProtocolError where it did not.
    """
    if party not in directory:
        raise ProtocolError(f"party {party} is not in the directory")
    if not verify_signature(directory.keys[party], signature, pack(statement)):
        raise ProtocolError(f"the signature of party {party} does not fit")
