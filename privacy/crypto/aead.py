"""Seal messages between two parties: AES-256-GCM (NIST SP 800-38D) with a random nonce."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES, TAG_BYTES = 12, 16


class SealError(ValueError):
    """Report a sealed message that was altered, cut, or meant for another context."""


def seal(key: bytes, nonce: bytes, content: bytes, context: bytes) -> bytes:
    """Seal content and return nonce, ciphertext and tag.

    context: bytes that the opener must know and that are bound in. nonce: 12 fresh random bytes.
    Every key here seals one message; the nonce guards the client that was stopped, woke from an
    older state and seals other content under the same key.
    """
    return nonce + AESGCM(key).encrypt(nonce, content, context)


def open_sealed(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Open sealed content. Raises SealError where key, bytes or context differ from the sealing."""
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise SealError("a sealed message is too short")
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
    except InvalidTag as error:
        raise SealError("a sealed message does not open: altered, or sealed for others") from error
