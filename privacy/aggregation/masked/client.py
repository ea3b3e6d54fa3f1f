"""A client of one masked round: it trusts its own terms and the directory, not the server."""

from __future__ import annotations

import os
from enum import IntEnum
from functools import cached_property
from itertools import compress

import numpy as np

from privacy.aggregation.masked import codec
from privacy.aggregation.masked.state import ClientState
from privacy.aggregation.masked.terms import Floor, RoundTerms
from privacy.aggregation.messages import SERVER, Message, pack, unpack
from privacy.crypto.aead import NONCE_BYTES, SealError, open_sealed, seal
from privacy.crypto.keys import (
    Derive,
    Directory,
    Identity,
    KeyPair,
    Verify,
    derive_pair_key,
    verify_signature,
)
from privacy.crypto.prg import SEED_BYTES, MaskStream
from privacy.crypto.shamir import SHARE_BYTES, split
from privacy.errors import ProtocolError


class Stage(IntEnum):
    """Name what a client has done last."""

    NEW = 0
    ADVERTISED = 1
    SHARED = 2
    READY = 3
    MASKED = 4
    SIGNED = 5
    UNMASKED = 6


class MaskedClient:
    """Play the client's part of Bonawitz et al. (CCS 2017) with the graph of Bell et al. (CCS
    2020).

    In order: `advertise` (round 0 of Figure 4), `share` (1), `receive_shares` and `mask` (2),
    `sign` (3), `unmask` (4). Every method takes the server's message and gives the answer. One that
    raises ProtocolError has changed nothing and revealed nothing; the client then stays out, which
    the round treats as a dropout. An object serves one attempt at one round, so that the keys of
    the next round may already be advertised while this one is open.

    identity, directory: the client's own key, and the verify keys of all. floor: what the client
    accepts of terms. verify, derive: only a simulator of many clients in one process puts
    others than the defaults here, which remember what a twin call has just computed.
    Raises ProtocolError where the terms fall below the floor or leave the client out.
    """

    def __init__(
        self,
        identity: Identity,
        terms: RoundTerms,
        directory: Directory,
        floor: Floor,
        verify: Verify = verify_signature,
        derive: Derive = derive_pair_key,
    ) -> None:
        terms.require(floor)
        if identity.number not in terms.position:
            raise ProtocolError(f"client {identity.number} is not of the cohort it is asked into")
        self.number = identity.number
        self.terms = terms
        self._identity, self._directory, self._floor = identity, directory, floor
        self._verify, self._derive = verify, derive
        self._bit = 1 << terms.position[self.number]
        self._state = ClientState.fresh()

    @cached_property
    def _places(self) -> list[int]:
        """Neighbours by slot: their places in the cohort. There are none before the beacon."""
        return self.terms.graph.neighbours(self.terms.position[self.number])

    @cached_property
    def _peers(self) -> list[int]:
        return [self.terms.cohort[p] for p in self._places]

    @property
    def stage(self) -> Stage:
        """Return what the client has done last."""
        return Stage(self._state.stage)

    def to_bytes(self) -> bytes:
        """Return terms and state, secrets included: for the client's own disk.

        Save it before a message is sent. A client that wakes from a state older than a message
        it sent could answer twice, and two answers may reveal what one hides.
        """
        return pack({"terms": self.terms.to_bytes(), "state": self._state.to_bytes()})

    @classmethod
    def from_bytes(
        cls,
        body: bytes,
        identity: Identity,
        directory: Directory,
        floor: Floor,
        verify: Verify = verify_signature,
        derive: Derive = derive_pair_key,
    ) -> MaskedClient:
        """Read the client of `to_bytes`.

        Raises ProtocolError where the bytes hold none, or terms that it refuses.
        """
        values = unpack(body, {"terms": bytes, "state": bytes})
        terms = RoundTerms.from_bytes(values["terms"])
        client = cls(identity, terms, directory, floor, verify, derive)
        client._state = ClientState.from_bytes(values["state"], terms.degree)
        return client

    def receive_plan(self, plan_hash: bytes) -> None:
        """Add the hash of the plan that came, where the terms were agreed before it.

        Raises ProtocolError where another is in the terms, or a vector is masked already."""
        if self.stage >= Stage.MASKED:
            raise ProtocolError("the plan's hash came after the vector was masked")
        self.terms = self.terms.with_plan(plan_hash)

    def receive_beacon(self, beacon: bytes) -> None:
        """Add the beacon that came, where keys were advertised before it.

        Raises ProtocolError where another is in the terms, or shares are dealt already."""
        if self.stage >= Stage.SHARED:
            raise ProtocolError("the beacon came after shares were dealt along a graph")
        self.terms = self.terms.with_beacon(beacon)

    def advertise(self) -> Message:
        """Advertise two fresh public keys under the client's signature (round 0, AdvertiseKeys).

        Beyond the paper they come with a commitment to the self-mask's seed, by which the server
        checks what is recovered. Raises ProtocolError where the client has advertised before.
        """
        self._at(Stage.NEW)
        state = self._state
        seed = os.urandom(SEED_BYTES)
        channel, mask = KeyPair.generate(), KeyPair.generate()
        commitment = codec.commitment(self.terms, self.number, seed)
        advert = codec.Advert(self.number, channel.public, mask.public, commitment, bytes(64))
        signature = self._identity.sign(codec.advert_message(self.terms, advert))
        state.seed, state.channel, state.mask = seed, channel, mask
        state.stage = Stage.ADVERTISED
        record = codec.adverts_to_bytes([advert._replace(signature=signature)])
        return self._message(codec.ADVERT, pack({"advert": record}))

    def share(self, message: Message) -> Message:
        """Check the neighbours' adverts, and seal to each a share of the self-mask's seed and of
        the mask key (round 1, ShareKeys). Raises ProtocolError for adverts that do not fit."""
        self._take(message, codec.ADVERTS, Stage.ADVERTISED)
        state, terms = self._state, self.terms
        assert state.channel is not None and state.mask is not None
        found = self._neighbours_adverts(message.body, {state.channel.public, state.mask.public})
        shares = split((state.seed, state.mask.secret_bytes()), len(self._peers), terms.threshold)
        nonces = os.urandom(NONCE_BYTES * len(self._peers))
        opening, masks, sealed = {}, {}, []
        for slot, peer in enumerate(self._peers):
            if peer not in found:
                continue
            low, high = min(self.number, peer), max(self.number, peer)
            info = codec.channel_info(terms, low, high)
            both = self._agree(state.channel, found[peer].channel, info, codec.CHANNEL_BYTES)
            mine, theirs = (both[:32], both[32:]) if self.number == low else (both[32:], both[:32])
            nonce = nonces[NONCE_BYTES * slot : NONCE_BYTES * (slot + 1)]
            context = codec.share_context(terms, self.number, peer)
            hashes = codec.share_hashes(terms, self.number, peer, shares[slot])
            sealed.append(codec.Sealed(peer, seal(mine, nonce, shares[slot], context), *hashes))
            opening[slot], masks[slot] = theirs, found[peer].mask
        state.opening, state.peer_masks = opening, masks
        state.channel, state.stage = None, Stage.SHARED
        return self._message(codec.SHARES, pack({"sealed": codec.sealed_to_bytes(sealed)}))

    def receive_shares(self, message: Message) -> None:
        """Open the shares that the neighbours sealed to this client (the end of round 1).

        A pair that does not open, or is not what its hashes say, is left out: that neighbour's
        secret needs other keepers. Raises ProtocolError unless every neighbour in the announced set
        has sent one."""
        self._take(message, codec.SEALED, Stage.SHARED)
        state, terms = self._state, self.terms
        values = unpack(message.body, {"shared": bytes, "sealed": bytes})
        shared = codec.members_from_bytes(values["shared"], terms)
        sealed = codec.sealed_from_bytes(values["sealed"])
        self._counted(shared, "shared")
        slots = self._slots(shared)
        senders = {self._peers[s] for s in slots}
        if senders != sealed.keys() or not set(slots) <= state.opening.keys():
            raise ProtocolError("the shares are not those of the neighbours said to have shared")
        self._enough(len(slots), "neighbours sent shares")
        held = {}
        for slot in slots:
            peer = self._peers[slot]
            context = codec.share_context(terms, peer, self.number)
            try:
                pair = open_sealed(state.opening[slot], sealed[peer].pair, context)
            except SealError:
                continue
            # Of a share that nobody would believe none is kept: who dealt it harms itself alone.
            dealt = codec.share_hashes(terms, peer, self.number, pair)
            if dealt == (sealed[peer].seed, sealed[peer].key):
                held[slot] = pair
        state.shared, state.held, state.opening = shared, held, {}
        state.stage = Stage.READY

    def mask(self, vector: np.ndarray, stream: MaskStream | None = None) -> Message:
        """Mask the vector by the self-mask and a mask per neighbour (round 2,
        MaskedInputCollection).

        vector: uint32 [dims], integers modulo 2**32; it is neither changed nor kept. stream: a
        buffer to be reused. Raises ValueError for a vector of another type or shape, ProtocolError
        without the plan's hash.
        """
        self._at(Stage.READY)
        state, terms = self._state, self.terms
        if vector.dtype != np.uint32 or vector.shape != (terms.dims,):
            raise ValueError(f"a vector must be uint32 [{terms.dims}], not {vector.dtype} "
                             f"{list(vector.shape)}")
        assert state.mask is not None
        bond = codec.round_bond(terms, state.shared)
        seeds = []
        for slot in self._slots(state.shared):
            peer = self._peers[slot]
            info = codec.mask_info(bond, min(self.number, peer), max(self.number, peer))
            seed = self._agree(state.mask, state.peer_masks[slot], info, SEED_BYTES)
            seeds.append((self.number < peer, seed))
        stream = MaskStream(terms.dims) if stream is None else stream
        total = vector.astype("<u4")
        stream.add(total, state.seed)
        for adds, seed in seeds:
            (stream.add if adds else stream.subtract)(total, seed)
        # What only masking needed is gone before the message leaves.
        state.bond, state.seed, state.mask, state.peer_masks = bond, b"", None, {}
        state.stage = Stage.MASKED
        return self._message(codec.MASKED, b"".join((bond, total.data)))

    def sign(self, message: Message) -> Message:
        """Sign the one list of survivors that this client will ever help to open (round 3,
        ConsistencyCheck). Raises ProtocolError for a list that it does not accept."""
        self._take(message, codec.SURVIVORS, Stage.MASKED)
        state, graph = self._state, self.terms.graph
        body = unpack(message.body, {"survivors": bytes})["survivors"]
        survivors = codec.members_from_bytes(body, self.terms)
        if survivors & ~state.shared:
            raise ProtocolError("a survivor is listed that never exchanged shares")
        self._counted(survivors, "survived")
        self._enough(len(self._slots(survivors)), "neighbours survived")
        if not graph.connected(survivors):
            raise ProtocolError("the survivors' mask graph is in pieces: a sum would open for each")
        signature = self._identity.sign(codec.survivors_message(state.bond, body))
        state.survivors, state.stage = survivors, Stage.SIGNED
        return self._message(codec.SIGNATURE, pack({"signature": signature}))

    def unmask(self, message: Message) -> Message:
        """Reveal a share of the self-mask of every neighbour that survived, of the mask key of
        every other, and never both of one (round 4, Unmasking).

        This takes signatures of enough neighbours under the same list. Raises ProtocolError for too
        few signatures, or one that is not good.
        """
        self._take(message, codec.SIGNATURES, Stage.SIGNED)
        state = self._state
        body = unpack(message.body, {"signatures": bytes})["signatures"]
        signed = codec.members_to_bytes(state.survivors, self.terms)
        expected = codec.survivors_message(state.bond, signed)
        alive = {self._peers[s] for s in self._slots(state.survivors)}
        given = codec.signatures_from_bytes(body)
        for peer, signature in given:
            if peer not in alive:
                raise ProtocolError(f"a signature came from client {peer}, no living neighbour")
            if not self._verify(self._directory.keys[peer], signature, expected):
                raise ProtocolError(f"client {peer} signed no such list of survivors")
        self._enough(len(given), "neighbours signed the list of survivors")
        revealed, without = [], 0
        for slot in self._slots(state.shared):
            lives = state.survivors >> self._places[slot] & 1
            if slot not in state.held:
                without |= 1 << slot
                continue
            pair = state.held[slot]
            revealed.append(pair[:SHARE_BYTES] if lives else pair[SHARE_BYTES:])
        state.held, state.stage = {}, Stage.UNMASKED
        return self._message(codec.UNMASK, pack({
            "shares": b"".join(revealed), "without": codec.slots_to_bytes(without, self.terms)}))

    def _neighbours_adverts(self, body: bytes, own_keys: set[bytes]) -> dict[int, codec.Advert]:
        """Adverts of neighbours by number, each signed by its client, no key in two of them."""
        found = codec.adverts_from_bytes(unpack(body, {"adverts": bytes})["adverts"])
        self._enough(len(found), "neighbours advertised keys")
        keys = set(own_keys)
        for advert in found:
            key = self._directory.keys.get(advert.sender)
            if key is None or advert.sender not in self._peers:
                raise ProtocolError(f"client {advert.sender} is no neighbour of {self.number}")
            if not self._verify(key, advert.signature, codec.advert_message(self.terms, advert)):
                raise ProtocolError(f"the advert of client {advert.sender} is not signed by it")
            keys |= {advert.channel, advert.mask}
        if len(keys) != 2 * len(found) + len(own_keys):
            raise ProtocolError("two adverts hold one key: a key must be fresh and its owner's")
        return {advert.sender: advert for advert in found}

    def _agree(self, own: KeyPair, peer: bytes, info: bytes, length: int) -> bytes:
        try:
            return self._derive(own, peer, info, length)
        except ValueError as error:
            raise ProtocolError("a neighbour advertised a key that agrees on no secret") from error

    def _slots(self, members: int) -> list[int]:
        """The slots of the neighbours in a set."""
        return list(compress(range(len(self._places)), [members >> p & 1 for p in self._places]))

    def _counted(self, members: int, what: str) -> None:
        if not members & self._bit:
            raise ProtocolError(f"client {self.number} is not on the list of those who {what}")
        if members.bit_count() < self.terms.min_survivors:
            raise ProtocolError(f"only {members.bit_count()} clients {what}, fewer than the agreed "
                                f"{self.terms.min_survivors}")

    def _enough(self, neighbours: int, what: str) -> None:
        if neighbours < self.terms.threshold:
            raise ProtocolError(f"only {neighbours} {what}, fewer than the threshold of "
                                f"{self.terms.threshold}")

    def _at(self, stage: Stage) -> None:
        if self.stage != stage:
            raise ProtocolError(f"client {self.number} is at stage {self.stage.name.lower()}, and "
                                f"this step follows {stage.name.lower()}: a message came twice, "
                                "early or late")

    def _take(self, message: Message, kind: str, stage: Stage) -> None:
        if message.kind != kind:
            raise ProtocolError(f"a message of kind {message.kind} came in place of {kind}")
        if (message.sender, message.receiver) != (SERVER, self.number):
            raise ProtocolError("a message is not from the server to this client")
        if message.round != self.terms.number:
            raise ProtocolError(f"a message of round {message.round} came in {self.terms.number}")
        self._at(stage)

    def _message(self, kind: str, body: bytes) -> Message:
        return Message(kind, self.number, SERVER, self.terms.number, body)
