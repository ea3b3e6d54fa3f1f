"""Opening a sum: secrets recovered from shares, checked, and their masks taken off."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from privacy.aggregation.masked import wire
from privacy.aggregation.masked.terms import RoundTerms
from privacy.crypto.keys import KeyPair, derive_pair_key
from privacy.crypto.prg import SEED_BYTES, MaskStream
from privacy.crypto.shamir import SHARE_BYTES, combine
from privacy.errors import RoundAborted


class Revealed:
    """Shares that survivors revealed, by the client whose secret they are of."""

    def __init__(self, terms: RoundTerms) -> None:
        self._graph, self._threshold = terms.graph, terms.threshold
        self._mirror = terms.graph.mirror()
        self._shares: dict[int, list[tuple[int, bytes]]] = {}

    def take(self, place: int, shared: int, shares: bytes) -> None:
        """Shares of the neighbours of `place` within `shared`, by slot."""
        at = 0
        for slot, peer in enumerate(self._graph.neighbours(place)):
            if shared >> peer & 1:
                share = (self._mirror[slot] + 1, shares[at : at + SHARE_BYTES])
                self._shares.setdefault(peer, []).append(share)
                at += SHARE_BYTES

    def secret(self, place: int, number: int) -> bytes:
        """The secret of a client. Raises RoundAborted."""
        shares = sorted(self._shares.get(place, []))[: self._threshold]
        if len(shares) < self._threshold:
            raise RoundAborted(f"only {len(shares)} shares of client {number}'s secret came, fewer "
                               f"than {self._threshold}")
        try:
            return combine([x for x, _ in shares], [s for _, s in shares])
        except ValueError as error:
            raise RoundAborted(f"the shares of client {number}'s secret are wrong") from error


def open_sum(
    total: np.ndarray,
    terms: RoundTerms,
    shared: int,
    survivors: int,
    adverts: Mapping[int, wire.Advert],
    revealed: Revealed,
    stream: MaskStream,
) -> None:
    """Take off, in place, the self-masks of survivors and their masks with who dropped out.

    total: uint32 [dims], the sum of masked vectors of `survivors`, a part of `shared` (sets of
    places). Every secret is recovered and checked before the first mask is taken off: seeds
    against their commitment, mask keys against the advertised key. Raises RoundAborted.
    """
    cohort, graph = terms.cohort, terms.graph
    bond = wire.round_bond(terms, shared)
    seeds = []
    for place in wire.places_of(survivors):
        seed = revealed.secret(place, cohort[place])
        if wire.commitment(terms, cohort[place], seed) != adverts[place].commitment:
            raise RoundAborted(f"the self-mask recovered for client {cohort[place]} is wrong")
        seeds.append(seed)
    pairs = []
    for place in wire.places_of(shared & ~survivors):
        near = [p for p in graph.neighbours(place) if survivors >> p & 1]
        if not near:
            continue
        key = KeyPair.from_bytes(revealed.secret(place, cohort[place]))
        if key.public != adverts[place].mask:
            raise RoundAborted(f"the mask key recovered for client {cohort[place]} is wrong")
        for peer in near:
            info = wire.mask_info(bond, cohort[min(place, peer)], cohort[max(place, peer)])
            try:
                mask = derive_pair_key(key, adverts[peer].mask, info, SEED_BYTES)
            except ValueError as error:
                raise RoundAborted(f"client {cohort[peer]} advertised no usable key") from error
            pairs.append((peer < place, mask))
    for seed in seeds:
        stream.subtract(total, seed)
    for added, seed in pairs:
        # A survivor added its mask with a later client, and subtracted that with an earlier one.
        (stream.subtract if added else stream.add)(total, seed)
