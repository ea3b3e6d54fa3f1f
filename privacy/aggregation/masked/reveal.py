"""Opening a sum: secrets recovered from shares, checked, and their masks taken off."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from privacy.aggregation.masked import codec
from privacy.aggregation.masked.terms import RoundTerms
from privacy.crypto.keys import KeyPair, derive_pair_key
from privacy.crypto.prg import SEED_BYTES, MaskStream
from privacy.crypto.shamir import SHARE_BYTES, combine
from privacy.errors import CheatFound, ProtocolError, RoundAborted

# Dealer's place -> keeper's place -> hashes [32 + 32] of the pair of shares between them.
Dealt = Mapping[int, Mapping[int, bytes]]


class Revealed:
    """Hold the shares that survivors revealed, by the client whose secret they are of.

    dealt: the hashes of all shares, as their dealers told them when they dealt. A share that is not
    the one that was dealt is never used, so a keeper can spoil nothing; and where shares that were
    dealt do not give the secret, it was the dealer.
    """

    def __init__(self, terms: RoundTerms, dealt: Dealt) -> None:
        self._terms, self._graph, self._threshold = terms, terms.graph, terms.threshold
        self._mirror = terms.graph.mirror()
        self._dealt = dealt
        self._shares: dict[int, list[tuple[int, bytes]]] = {}
        self._lacking: dict[int, int] = {}
        # Colluders that claim to have been dealt nothing are no more than the graph was made for.
        spare = 2 * terms.threshold - terms.degree
        self._liars = spare - 1 if spare > 0 else terms.threshold - 1

    def take(self, place: int, shared: int, survivors: int, without: int, shares: bytes) -> None:
        """Take the shares that a keeper at `place` reveals of its neighbours within `shared`.

        survivors: the set whose self-masks are revealed; of the others it is mask keys. without:
        slots of neighbours of whom it was dealt none that it could use. Raises ProtocolError, with
        nothing taken, for a share that was not dealt, and for another number of them.
        """
        found, lacking, at = [], [], 0
        cohort = self._terms.cohort
        for slot, peer in enumerate(self._graph.neighbours(place)):
            if not shared >> peer & 1:
                continue
            if without >> slot & 1:
                lacking.append(peer)
                continue
            share, lives = shares[at : at + SHARE_BYTES], bool(survivors >> peer & 1)
            dealt = self._dealt[peer][place]
            wanted = dealt[:codec.HASH_BYTES] if lives else dealt[codec.HASH_BYTES:]
            if codec.share_hash(self._terms, cohort[peer], cohort[place], lives, share) != wanted:
                raise ProtocolError(f"client {cohort[place]} reveals a share of client "
                                    f"{cohort[peer]}'s secret that it was not dealt")
            found.append((peer, (self._mirror[slot] + 1, share)))
            at += SHARE_BYTES
        if at != len(shares):
            raise ProtocolError(f"client {cohort[place]} must reveal one share a peer")
        for peer in lacking:
            self._lacking[peer] = self._lacking.get(peer, 0) + 1
        for peer, numbered in found:
            self._shares.setdefault(peer, []).append(numbered)

    def secret(self, place: int, number: int) -> bytes:
        """Recover the secret of a client from its shares.

        Raises RoundAborted; CheatFound where the shares that were dealt give none, or where more
        keepers were dealt none of use than could be lying."""
        shares = sorted(self._shares.get(place, []))[: self._threshold]
        if len(shares) < self._threshold:
            if self._lacking.get(place, 0) > self._liars:
                raise _cheat([number])
            raise RoundAborted(f"only {len(shares)} shares of client {number}'s secret came, fewer "
                               f"than {self._threshold}")
        try:
            return combine([x for x, _ in shares], [s for _, s in shares])
        except ValueError:
            raise _cheat([number]) from None


def _cheat(clients: list[int]) -> CheatFound:
    named = ", ".join(map(str, clients))
    return CheatFound(f"the shares that were dealt by client {named} do not give the secret they "
                      "belong to", frozenset(clients))


def open_sum(
    total: np.ndarray,
    terms: RoundTerms,
    shared: int,
    survivors: int,
    adverts: Mapping[int, codec.Advert],
    revealed: Revealed,
    stream: MaskStream,
) -> None:
    """Take off, in place, the self-masks of survivors and their masks with who dropped out.

    total: uint32 [dims], the sum of masked vectors of `survivors`, a part of `shared` (sets of
    places). Every secret is recovered and checked before the first mask is taken off: seeds
    against their commitment, mask keys against the advertised key. Raises RoundAborted; CheatFound,
    which names all of them, where clients dealt shares that do not give their secret.
    """
    cohort, graph = terms.cohort, terms.graph
    bond = codec.round_bond(terms, shared)
    seeds, pairs = [], []
    cheats: set[int] = set()
    for place in codec.places_of(survivors):
        try:
            seed = revealed.secret(place, cohort[place])
        except CheatFound as error:
            cheats |= error.clients
            continue
        if codec.commitment(terms, cohort[place], seed) != adverts[place].commitment:
            cheats.add(cohort[place])
        seeds.append(seed)
    for place in codec.places_of(shared & ~survivors):
        near = [p for p in graph.neighbours(place) if survivors >> p & 1]
        if not near:
            continue
        try:
            key = KeyPair.from_bytes(revealed.secret(place, cohort[place]))
        except CheatFound as error:
            cheats |= error.clients
            continue
        if key.public != adverts[place].mask:
            cheats.add(cohort[place])
            continue
        for peer in near:
            info = codec.mask_info(bond, cohort[min(place, peer)], cohort[max(place, peer)])
            try:
                mask = derive_pair_key(key, adverts[peer].mask, info, SEED_BYTES)
            except ValueError as error:
                raise RoundAborted(f"client {cohort[peer]} advertised no usable key") from error
            pairs.append((peer < place, mask))
    if cheats:
        raise _cheat(sorted(cheats))
    for seed in seeds:
        stream.subtract(total, seed)
    for added, seed in pairs:
        # A survivor added its mask with a later client, and subtracted that with an earlier one.
        (stream.subtract if added else stream.add)(total, seed)
