"""Make key pairs: a long-term Ed25519 identity per client, fresh X25519 pairs per round."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES, SIGNATURE_BYTES = 32, 64

# (verify key, signature, message) -> whether the signature is good.
Verify = Callable[[bytes, bytes, bytes], bool]


@dataclass(frozen=True)
class Identity:
    """Hold a client's long-term signing key, and the number by which the server knows the
    client."""

    number: int
    key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, number: int) -> Identity:
        """Make a fresh identity, keyed by the operating system."""
        return cls(number, Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, number: int, secret: bytes) -> Identity:
        """Make the identity of 32 secret bytes, as `secret_bytes` gave them."""
        return cls(number, Ed25519PrivateKey.from_private_bytes(secret))

    def secret_bytes(self) -> bytes:
        """Return the 32 secret bytes, for the client's own disk and nobody else."""
        return self.key.private_bytes_raw()

    def verify_key(self) -> bytes:
        """Return the public 32 bytes that go into a `Directory`."""
        return self.key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign a message; return the Ed25519 signature [64] (RFC 8032)."""
        return self.key.sign(message)


@dataclass(frozen=True)
class Directory:
    """Hold the verify keys of all registered parties: the one thing that they trust beforehand.

    keys: party -> verify key [32]: of clients by their number, and of a key holder by its own.
    A server that could write this directory could play any client, so deployments hand it out
    by another way than the server's own messages. Raises ValueError for a key of another length,
    and for one that two parties share.
    """

    keys: Mapping[int, bytes]

    def __post_init__(self) -> None:
        for number, key in self.keys.items():
            if len(key) != KEY_BYTES:
                raise ValueError(f"the verify key of party {number} must have {KEY_BYTES} bytes")
        if len(set(self.keys.values())) != len(self.keys):
            raise ValueError("two parties of the directory share one verify key")

    @classmethod
    def of(cls, identities: Iterable[Identity]) -> Directory:
        """Make the directory of these identities."""
        return cls({i.number: i.verify_key() for i in identities})

    def __contains__(self, number: int) -> bool:
        return number in self.keys

    def including(self, number: int, verify_key: bytes) -> Directory:
        """Return this directory with one more party. Raises ValueError where it has the key
        already."""
        return Directory({**self.keys, number: verify_key})


def verify_signature(verify_key: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether an Ed25519 signature is good (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(verify_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True)
class KeyPair:
    """Hold an X25519 pair for one round.

    public: 32 bytes. The secret is 32 bytes of any value, which X25519 clamps inside (RFC 7748,
    section 5).
    """

    private: X25519PrivateKey = field(repr=False)
    public: bytes

    @classmethod
    def generate(cls) -> KeyPair:
        """Make a fresh pair from 32 bytes of the operating system."""
        return cls.from_bytes(os.urandom(KEY_BYTES))

    @classmethod
    def from_bytes(cls, secret: bytes) -> KeyPair:
        """Make the pair of 32 secret bytes."""
        private = X25519PrivateKey.from_private_bytes(secret)
        return cls(private, private.public_key().public_bytes_raw())

    def secret_bytes(self) -> bytes:
        """Return the 32 secret bytes."""
        return self.private.private_bytes_raw()


# (own pair, the other's public key, context, length) -> key bytes, the same at both ends.
Derive = Callable[[KeyPair, bytes, bytes, int], bytes]


def derive_pair_key(own: KeyPair, peer: bytes, info: bytes, length: int) -> bytes:
    """Derive key bytes that two parties share: HKDF-SHA256 (RFC 5869) over X25519 (RFC 7748).

    peer: the other's public key [32]. info: purpose, terms and the pair in one order, so that
    both ends derive the same and no other use does. Raises ValueError where the peer's key is
    of small order, and the agreement would be no secret.
    """
    shared = own.private.exchange(X25519PublicKey.from_public_bytes(peer))
    return HKDF(hashes.SHA256(), length, None, info).derive(shared)
