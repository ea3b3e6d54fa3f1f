"""Ed25519 signatures over packed statements (RFC 8032)."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from privacy.aggregation.messages import Body, ProtocolError, pack


def new_identity() -> bytes:
    """A private key from the system's randomness, 32 bytes."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_of(private: bytes) -> bytes:
    """The public key of a private key, 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def sign(private: bytes, statement: Body) -> bytes:
    """Signature of a statement, 64 bytes. A statement names its purpose, so none fits another."""
    return Ed25519PrivateKey.from_private_bytes(private).sign(pack(statement))


class Directory:
    """Who has which public key; agreed on before a run, and not by way of the server."""

    def __init__(self, public_keys: Mapping[int, bytes]) -> None:
        self._keys = {
            party: Ed25519PublicKey.from_public_bytes(raw) for party, raw in public_keys.items()
        }

    def __contains__(self, party: int) -> bool:
        return party in self._keys

    def verify(self, party: int, statement: Body, signature: bytes) -> None:
        """Raises ProtocolError unless the party signed exactly this statement."""
        if party not in self._keys:
            raise ProtocolError(f"party {party} is not in the directory")
        try:
            self._keys[party].verify(signature, pack(statement))
        except InvalidSignature as error:
            raise ProtocolError(f"the signature of party {party} does not fit") from error
