"""Bind a ledger to what was promised: notes in its chain, signed by the key of the run.

The first link of a bound ledger is a commitment: what the run is, in full, and the key that signs
every link after it (Ed25519, RFC 8032). Without the key nobody can change, reorder or add a link
that verifies; whoever has the key can write another ledger altogether.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_PURPOSE = b"privfedmm ledger link\0"  # a signature here is none anywhere else
NoteKind = Literal["commitment", "continued"]


class Signer(Protocol):
    """Sign links; `privacy.crypto.Identity` does."""

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature [64] of a message."""
        ...

    def verify_key(self) -> bytes:
        """Return the public key [32] that verifies it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Note:
    """Say something in a ledger that costs nothing, chained and signed like what is charged.

    kind: `commitment`, the first link, or `continued`, that the run went on under another code.
    body: JSON values; of a commitment, `key` is the verify key [32 bytes as hex].
    """

    kind: NoteKind
    body: dict[str, Any]
    previous: str
    digest: str
    signature: str

    @classmethod
    def make(
        cls, kind: NoteKind, body: dict[str, Any], previous: str, signer: Signer
    ) -> Note:
        """Make a note after the link whose digest is `previous`."""
        digest = _digest(kind, body, previous)
        return cls(kind=kind, body=body, previous=previous, digest=digest,
                   signature=signed(digest, signer))

    @property
    def title(self) -> str:
        """Return the words that name the note in sentences."""
        return self.kind

    def true_digest(self) -> str:
        """Return the SHA-256 that the digest must be."""
        return _digest(self.kind, self.body, self.previous)

    def to_json(self) -> dict[str, Any]:
        """Return the note as a JSON object."""
        return asdict(self)


def signed(digest: str, signer: Signer) -> str:
    """Return the signature of a link's digest, as hex."""
    return signer.sign(_PURPOSE + digest.encode()).hex()


def is_signed(digest: str, signature: str | None, key: str) -> bool:
    """Tell whether a link's digest is signed by the key (hex); never raises."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
            bytes.fromhex(signature or ""), _PURPOSE + digest.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def canonical(value: Any) -> bytes:
    """Return the one text of a JSON value that digests are of. Raises ValueError for NaN."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()


def _digest(kind: str, body: dict[str, Any], previous: str) -> str:
    return hashlib.sha256(
        canonical({"kind": kind, "body": body, "previous": previous})).hexdigest()
