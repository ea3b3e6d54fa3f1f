"""Bodies of the protocol's messages, and the hashes that bind them to their round."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

import numpy as np

from privacy.aggregation.masked.terms import RoundTerms
from privacy.crypto.aead import NONCE_BYTES, TAG_BYTES
from privacy.crypto.shamir import SHARE_BYTES
from privacy.errors import ProtocolError

# Client to server, in order of the stages; and what the server answers to each.
ADVERT, SHARES, MASKED, SIGNATURE, UNMASK = "advert", "shares", "masked", "signature", "unmask"
ADVERTS, SEALED, SURVIVORS, SIGNATURES = "adverts", "sealed", "survivors", "signatures"

CHANNEL_BYTES = 64
BOND_BYTES = 32
HASH_BYTES = 32
SEALED_BYTES = NONCE_BYTES + 2 * SHARE_BYTES + TAG_BYTES
_ADVERT = struct.Struct("<q32s32s32s64s")
_SIGNED = _ADVERT.size - 64
_SEALED = struct.Struct(f"<q{SEALED_BYTES}s{HASH_BYTES}s{HASH_BYTES}s")
_SIGNATURE = struct.Struct("<q64s")
_PAIR = struct.Struct("<qq")


class Advert(NamedTuple):
    """Hold a client's keys for one round.

    channel: X25519 key that shares are sealed to. mask: X25519 key that pair masks come from.
    commitment: hash of the self-mask's seed. signature: of the sender's identity over the rest.
    """

    sender: int
    channel: bytes
    mask: bytes
    commitment: bytes
    signature: bytes


class Sealed(NamedTuple):
    """Hold a pair of shares on its way from one client to another.

    peer: the other client: the receiver on the way to the server, the sender from there on. pair:
    the sealed shares of the self-mask's seed and of the mask key. seed, key: hash of each share,
    by which the receiver knows that it got what the server will accept, and the server that it is
    told what was dealt.
    """

    peer: int
    pair: bytes
    seed: bytes
    key: bytes


def share_hash(terms: RoundTerms, dealer: int, keeper: int, seed: bool, share: bytes) -> bytes:
    """Return the hash [32] of a share of a self-mask's seed, or of a mask key; it hides a random
    number."""
    what = b"masked sum seed share" if seed else b"masked sum key share"
    return hashlib.sha256(
        what + terms.setup_digest + _PAIR.pack(dealer, keeper) + share).digest()


def share_hashes(terms: RoundTerms, dealer: int, keeper: int, pair: bytes) -> tuple[bytes, bytes]:
    """Return the hashes [32] of a pair of shares, the seed's and the key's."""
    return (share_hash(terms, dealer, keeper, True, pair[:SHARE_BYTES]),
            share_hash(terms, dealer, keeper, False, pair[SHARE_BYTES:]))


def advert_message(terms: RoundTerms, advert: Advert) -> bytes:
    """Return what the signature of an advert signs."""
    return b"masked sum advert" + terms.setup_digest + _ADVERT.pack(*advert)[:_SIGNED]


def adverts_to_bytes(adverts: list[Advert]) -> bytes:
    """Write adverts as records of 168 bytes."""
    return b"".join([_ADVERT.pack(*a) for a in adverts])


def _records(form: struct.Struct, body: bytes) -> list[tuple[int, bytes]]:
    if len(body) % form.size:
        raise ProtocolError(f"a message must hold whole records of {form.size} bytes")
    records = list(form.iter_unpack(body))
    if len({r[0] for r in records}) != len(records):
        raise ProtocolError("a message names one client twice")
    return records


def adverts_from_bytes(body: bytes) -> list[Advert]:
    """Read the adverts of a message. Raises ProtocolError for cut records and two of one sender."""
    return [Advert(*r) for r in _records(_ADVERT, body)]  # type: ignore[call-arg]


def sealed_to_bytes(sealed: list[Sealed]) -> bytes:
    """Write sealed pairs of shares as records of 166 bytes."""
    return b"".join([_SEALED.pack(*s) for s in sealed])


def sealed_from_bytes(body: bytes) -> dict[int, Sealed]:
    """Read the sealed pairs of a message by client.

    Raises ProtocolError for cut records and for two of one client.
    """
    return {r[0]: Sealed(*r) for r in _records(_SEALED, body)}  # type: ignore[call-arg]


def signatures_to_bytes(signatures: list[tuple[int, bytes]]) -> bytes:
    """Write pairs (client, signature) as records of 72 bytes."""
    return b"".join([_SIGNATURE.pack(*s) for s in signatures])


def signatures_from_bytes(body: bytes) -> list[tuple[int, bytes]]:
    """Read the pairs (client, signature) of a message.

    Raises ProtocolError for cut records and for two of one client.
    """
    return _records(_SIGNATURE, body)


def places_of(members: int) -> list[int]:
    """Return the set bits of a set of places, ascending."""
    bits = np.frombuffer(members.to_bytes(-(-members.bit_length() // 8), "little"), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist()


def members_to_bytes(members: int, terms: RoundTerms) -> bytes:
    """Write a set of places in the cohort, one bit a client."""
    return members.to_bytes(-(-len(terms.cohort) // 8), "little")


def members_from_bytes(body: bytes, terms: RoundTerms) -> int:
    """Read the set of places of `members_to_bytes`.

    Raises ProtocolError where it does not fit the cohort.
    """
    members = int.from_bytes(body, "little")
    if len(body) != -(-len(terms.cohort) // 8) or members.bit_length() > len(terms.cohort):
        raise ProtocolError("a set of clients does not fit the cohort")
    return members


def slots_to_bytes(slots: int, terms: RoundTerms) -> bytes:
    """Write a set of slots of a client's neighbours, one bit a slot."""
    return slots.to_bytes(-(-terms.degree // 8), "little")


def slots_from_bytes(body: bytes, terms: RoundTerms) -> int:
    """Read the set of `slots_to_bytes`. Raises ProtocolError where it does not fit the degree."""
    slots = int.from_bytes(body, "little")
    if len(body) != -(-terms.degree // 8) or slots.bit_length() > terms.degree:
        raise ProtocolError("a set of neighbours does not fit the degree")
    return slots


def commitment(terms: RoundTerms, sender: int, seed: bytes) -> bytes:
    """Return the hash [32] by which a recovered self-mask seed is checked; it hides 32 random
    bytes."""
    own = sender.to_bytes(8, "little")
    return hashlib.sha256(b"masked sum seed" + terms.setup_digest + own + seed).digest()


def channel_info(terms: RoundTerms, low: int, high: int) -> bytes:
    """Return the context of the two sealing keys of a pair of clients: low to high, then high to
    low."""
    return b"masked sum channel" + terms.setup_digest + _PAIR.pack(low, high)


def share_context(terms: RoundTerms, sender: int, receiver: int) -> bytes:
    """Return what is bound into a sealed pair of shares: its kind, its terms, its sender and its
    receiver."""
    return b"masked sum shares" + terms.setup_digest + _PAIR.pack(sender, receiver)


def round_bond(terms: RoundTerms, shared: int) -> bytes:
    """Return the hash [32] of all terms, the plan's hash, and the set that exchanged shares.

    Pair masks come from it: clients who were told different things cannot cancel their masks.
    """
    sets = members_to_bytes(shared, terms)
    return hashlib.sha256(b"masked sum bond" + terms.digest + sets).digest()


def mask_info(bond: bytes, low: int, high: int) -> bytes:
    """Return the context of the pair mask of two clients."""
    return b"masked sum pair" + bond + _PAIR.pack(low, high)


def survivors_message(bond: bytes, survivors: bytes) -> bytes:
    """Return what a survivor signs: the bond and the list of survivors."""
    return b"masked sum survivors" + bond + survivors


def vector_of(body: bytes) -> np.ndarray:
    """Return the masked vector in a message of kind MASKED, uint32 [dims]."""
    return np.frombuffer(body, dtype="<u4", offset=BOND_BYTES)
