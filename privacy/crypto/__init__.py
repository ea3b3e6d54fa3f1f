"""This package holds the primitives of secure aggregation: keys, seals, masks, secret sharing."""

from privacy.crypto.aead import SealError, open_sealed, seal
from privacy.crypto.keys import (
    Derive,
    Directory,
    Identity,
    KeyPair,
    Verify,
    derive_pair_key,
    verify_signature,
)
from privacy.crypto.prg import MaskStream
from privacy.crypto.shamir import combine, split

__all__ = [
    "Derive",
    "Directory",
    "Identity",
    "KeyPair",
    "MaskStream",
    "SealError",
    "Verify",
    "combine",
    "derive_pair_key",
    "open_sealed",
    "seal",
    "split",
    "verify_signature",
]
