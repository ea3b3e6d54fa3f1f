"""What a server saves of a round while its sum is being opened."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from privacy.aggregation.masked import codec
from privacy.aggregation.masked.terms import RoundTerms
from privacy.aggregation.messages import pack, unpack
from privacy.errors import ProtocolError

_DEALT = struct.Struct(f"<II{2 * codec.HASH_BYTES}s")
_FIELDS = {
    "terms": bytes, "awaits": int, "expected": bytes, "shared": bytes, "survivors": bytes,
    "adverts": bytes, "signatures": bytes, "dealt": bytes, "total": bytes,
}


@dataclass(frozen=True)
class ServerState:
    """Hold a server that has its survivors and waits for their signatures, or for their shares.

    All of it came to the server from the clients: there is no secret of a client in it. awaits:
    number of the stage. expected, shared, survivors: sets of places in the cohort, as bits: who
    may still answer, who exchanged shares, whose vectors are in the total. adverts, signatures:
    by place. dealt: dealer's place -> keeper's place -> hashes [64] of the shares between them.
    total: uint32 [dims], still under the survivors' masks.
    """

    terms: RoundTerms
    awaits: int
    expected: int
    shared: int
    survivors: int
    adverts: Mapping[int, codec.Advert]
    signatures: Mapping[int, bytes]
    dealt: Mapping[int, Mapping[int, bytes]]
    total: np.ndarray

    def to_bytes(self) -> bytes:
        """Return the state as bytes, for the server's own disk."""
        cohort, terms = self.terms.cohort, self.terms
        return pack({
            "terms": terms.to_bytes(), "awaits": int(self.awaits),
            "expected": codec.members_to_bytes(self.expected, terms),
            "shared": codec.members_to_bytes(self.shared, terms),
            "survivors": codec.members_to_bytes(self.survivors, terms),
            "adverts": codec.adverts_to_bytes([self.adverts[p] for p in sorted(self.adverts)]),
            "signatures": codec.signatures_to_bytes(
                [(cohort[p], self.signatures[p]) for p in sorted(self.signatures)]),
            "dealt": b"".join([_DEALT.pack(dealer, keeper, hashes)
                               for dealer, kept in sorted(self.dealt.items())
                               for keeper, hashes in sorted(kept.items())]),
            "total": self.total.astype("<u4").tobytes(),
        })

    @classmethod
    def from_bytes(cls, body: bytes) -> ServerState:
        """Read the state of `to_bytes`. Raises ProtocolError where it was cut or edited badly."""
        values = unpack(body, _FIELDS)
        terms = RoundTerms.from_bytes(values["terms"])
        expected, shared, survivors = (
            codec.members_from_bytes(values[n], terms) for n in ("expected", "shared", "survivors"))
        if survivors & ~shared or expected & ~survivors:
            raise ProtocolError("the sets of a saved opening do not lie within one another")
        position = terms.position
        adverts = {a.sender: a for a in codec.adverts_from_bytes(values["adverts"])}
        signatures = dict(codec.signatures_from_bytes(values["signatures"]))
        if not adverts.keys() | signatures.keys() <= position.keys():
            raise ProtocolError("a saved opening names a client outside its cohort")
        if not {terms.cohort[p] for p in codec.places_of(shared)} <= adverts.keys():
            raise ProtocolError("a saved opening lacks the keys of a client that shared")
        dealt: dict[int, dict[int, bytes]] = {}
        if len(values["dealt"]) % _DEALT.size:
            raise ProtocolError("a saved opening holds hashes of shares that are cut")
        for dealer, keeper, hashes in _DEALT.iter_unpack(values["dealt"]):
            dealt.setdefault(dealer, {})[keeper] = hashes
        for place in codec.places_of(shared):
            near = {p for p in terms.graph.neighbours(place) if shared >> p & 1}
            if not near <= dealt.get(place, {}).keys():
                raise ProtocolError("a saved opening lacks hashes of shares that were dealt")
        if len(values["total"]) != 4 * terms.dims:
            raise ProtocolError(f"a saved opening must hold {terms.dims} numbers of 4 bytes")
        return cls(
            terms, values["awaits"], expected, shared, survivors,
            {position[n]: advert for n, advert in adverts.items()},
            {position[n]: signature for n, signature in signatures.items()}, dealt,
            np.frombuffer(values["total"], dtype="<u4").astype(np.uint32))
