"""The server of one masked round: it adds what it cannot read, and opens one sum or none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from privacy.aggregation.masked import codec
from privacy.aggregation.masked.graph import sustained
from privacy.aggregation.masked.reveal import Revealed, open_sum
from privacy.aggregation.masked.server_state import ServerState
from privacy.aggregation.masked.terms import RoundTerms
from privacy.aggregation.messages import SERVER, Message, pack, unpack
from privacy.crypto.keys import SIGNATURE_BYTES, Directory, Verify, verify_signature
from privacy.crypto.prg import MaskStream
from privacy.errors import CheatFound, ProtocolError, RoundAborted


class Await(IntEnum):
    """Name what a server takes now."""

    ADVERT = 0
    SHARES = 1
    MASKED = 2
    SIGNATURE = 3
    UNMASK = 4
    NOTHING = 5


_KINDS = {
    codec.ADVERT: Await.ADVERT, codec.SHARES: Await.SHARES, codec.MASKED: Await.MASKED,
    codec.SIGNATURE: Await.SIGNATURE, codec.UNMASK: Await.UNMASK,
}


@dataclass(frozen=True)
class MaskedSum:
    """Hold an opened sum.

    total: uint32 [dims], the sum modulo 2**32 over the survivors. survivors: the numbers of the
    clients in the sum, int64, ascending.
    """

    total: np.ndarray
    survivors: np.ndarray


class MaskedServer:
    """Play the server's part of Bonawitz et al. (CCS 2017) with the graph of Bell et al. (CCS
    2020).

    `receive` takes the clients' messages of a stage in any order. The stages are rounds 0 to 4 of
    Figure 4 of Bonawitz et al., and end with `route_adverts` (0), `route_shares` (1),
    `announce_survivors` (2), `route_signatures` (3) and `finish` (4); who has sent nothing by then
    has dropped out. A message refused with ProtocolError leaves the server
    as it was. RoundAborted ends the round: the running sum is thrown away, and the next attempt
    needs new terms and new keys. Only a running sum is kept of all masked vectors.

    From `announce_survivors` on the server can be saved (`to_bytes`): it may ask for signatures
    and shares again after a restart, in the same words and over the same survivors.
    """

    def __init__(
        self, terms: RoundTerms, directory: Directory, verify: Verify = verify_signature
    ) -> None:
        absent = [number for number in terms.cohort if number not in directory]
        if absent:
            raise ProtocolError(f"client {absent[0]} of the cohort is not in the directory")
        self.terms = terms
        self._directory, self._verify = directory, verify
        self._awaits = Await.ADVERT
        # Sets of places in the cohort, as bits: who may still answer, who has at this stage.
        self._expected, self._came = (1 << len(terms.cohort)) - 1, 0
        self._adverts: dict[int, codec.Advert] = {}
        # Receiver's place -> sealed shares by sender; gone once they are routed.
        self._sealed: dict[int, list[codec.Sealed]] = {}
        # Dealer's place -> keeper's place -> hashes of the shares between them.
        self._dealt: dict[int, dict[int, bytes]] = {}
        self._signatures: dict[int, bytes] = {}
        self._revealed: Revealed | None = None
        self._advertised = self._shared = self._survivors = 0
        self._bond = self._list = b""
        self._total = np.zeros(terms.dims, dtype=np.uint32)

    @property
    def awaits(self) -> Await:
        """Return the kind of message that the server takes now."""
        return self._awaits

    def to_bytes(self) -> bytes:
        """Return the opening so far, for the server's own disk, as it was when the stage began:
        answers that came since are asked for again. Raises ProtocolError outside an opening."""
        self._opening()
        return ServerState(
            self.terms, self._awaits, self._expected, self._shared, self._survivors,
            self._adverts, self._signatures if self._awaits == Await.UNMASK else {}, self._dealt,
            self._total,
        ).to_bytes()

    @classmethod
    def from_bytes(
        cls, body: bytes, directory: Directory, verify: Verify = verify_signature
    ) -> MaskedServer:
        """Read the server of `to_bytes`. Raises ProtocolError where the bytes hold no opening."""
        state = ServerState.from_bytes(body)
        if state.awaits not in (Await.SIGNATURE, Await.UNMASK):
            raise ProtocolError("a saved opening is at a stage at which nothing is opened")
        server = cls(state.terms, directory, verify)
        server._awaits, server._expected = Await(state.awaits), state.expected
        server._shared, server._survivors = state.shared, state.survivors
        server._adverts, server._signatures = dict(state.adverts), dict(state.signatures)
        server._bond = codec.round_bond(state.terms, state.shared)
        server._list = codec.members_to_bytes(state.survivors, state.terms)
        server._total, server._dealt = state.total, {p: dict(d) for p, d in state.dealt.items()}
        return server

    def receive(self, message: Message) -> None:
        """Take a client's message. Raises ProtocolError, and is then as before."""
        place = self._check(message)
        if message.kind == codec.MASKED:
            self._masked(message.body)
        elif message.kind == codec.ADVERT:
            self._advert(place, unpack(message.body, {"advert": bytes})["advert"])
        elif message.kind == codec.SHARES:
            self._shares(place, unpack(message.body, {"sealed": bytes})["sealed"])
        elif message.kind == codec.SIGNATURE:
            self._signature(place, unpack(message.body, {"signature": bytes})["signature"])
        else:
            values = unpack(message.body, {"shares": bytes, "without": bytes})
            self._unmask(place, values["shares"], values["without"])
        self._came |= 1 << place

    def route_adverts(self) -> list[Message]:
        """End round 0, AdvertiseKeys: every client gets the adverts of its neighbours.

        Raises RoundAborted where too few clients are left."""
        self._ends(Await.ADVERT)
        self._advertised = self._next(self._sustained(), "advertised keys")
        records = {p: codec.adverts_to_bytes([a]) for p, a in self._adverts.items()}
        bodies = []
        for place in codec.places_of(self._advertised):
            near = b"".join([records[p] for p in self._near(place, self._advertised)])
            bodies.append((place, pack({"adverts": near})))
        return self._route(codec.ADVERTS, bodies)

    def route_shares(self) -> list[Message]:
        """End round 1, ShareKeys: every client gets the shares sealed to it, and who shared.

        Raises RoundAborted, here and in the next stages, where too few are left.
        """
        self._ends(Await.SHARES)
        self._shared = self._next(self._sustained(), "shared keys")
        self._bond = codec.round_bond(self.terms, self._shared)
        shared = codec.members_to_bytes(self._shared, self.terms)
        position, sealed, self._sealed = self.terms.position, self._sealed, {}
        bodies = []
        for place in codec.places_of(self._shared):
            own = [s for s in sealed.get(place, []) if self._shared >> position[s.peer] & 1]
            bodies.append((place, pack({"shared": shared, "sealed": codec.sealed_to_bytes(own)})))
        return self._route(codec.SEALED, bodies)

    def announce_survivors(self) -> list[Message]:
        """End round 2, MaskedInputCollection: every survivor gets the list of them to sign."""
        self._ends(Await.MASKED)
        if self._sustained() != self._came:
            raise self._abort("a survivor has fewer living neighbours than the threshold")
        if not self.terms.graph.connected(self._came):
            raise self._abort("the survivors' mask graph is empty or in pieces")
        self._survivors = self._next(self._came, "sent a masked vector")
        self._list = codec.members_to_bytes(self._survivors, self.terms)
        return self.asked()

    def route_signatures(self) -> list[Message]:
        """End round 3, ConsistencyCheck: every signer gets its neighbours' signatures."""
        self._ends(Await.SIGNATURE)
        # With fewer a client would refuse, and so counts as dropped; its own signature stays.
        receivers = sum(1 << place for place in codec.places_of(self._came)
                        if len(self._near(place, self._came)) >= self.terms.threshold)
        self._next(receivers, "have enough neighbours who signed", fewest=1)
        return self.asked()

    def asked(self) -> list[Message]:
        """Return what clients are asked now to open the sum.

        That is the list of survivors, or the signatures of neighbours; the words are the same each
        time. Raises ProtocolError outside an opening.
        """
        self._opening()
        places = codec.places_of(self._expected)
        if self._awaits == Await.SIGNATURE:
            body = pack({"survivors": self._list})
            return self._route(codec.SURVIVORS, [(place, body) for place in places])
        cohort, signed, bodies = self.terms.cohort, sum(1 << p for p in self._signatures), []
        for place in places:
            near = [(cohort[p], self._signatures[p]) for p in self._near(place, signed)]
            bodies.append((place, pack({"signatures": codec.signatures_to_bytes(near)})))
        return self._route(codec.SIGNATURES, bodies)

    def finish(self, stream: MaskStream | None = None) -> MaskedSum:
        """End round 4, Unmasking, and return the sum over the survivors.

        stream: a buffer to be reused. Raises RoundAborted where the sum cannot be opened rightly.
        Raises CheatFound where clients dealt shares that do not give their secret.
        """
        self._ends(Await.UNMASK)
        self._next(self._came, "revealed shares", fewest=1)
        total, self._total = self._total, np.zeros(0, dtype=np.uint32)
        stream = MaskStream(self.terms.dims) if stream is None else stream
        try:
            open_sum(total, self.terms, self._shared, self._survivors, self._adverts,
                     self._opened(), stream)
        except CheatFound as error:
            raise CheatFound(str(self._abort(str(error))), error.clients) from error
        except RoundAborted as error:
            raise self._abort(str(error)) from error
        self._revealed = None
        numbers = [self.terms.cohort[p] for p in codec.places_of(self._survivors)]
        return MaskedSum(total, np.array(numbers, dtype=np.int64))

    def _advert(self, place: int, record: bytes) -> None:
        found = codec.adverts_from_bytes(record)
        sender = self.terms.cohort[place]
        if len(found) != 1 or found[0].sender != sender:
            raise ProtocolError(f"client {sender} must advertise its own keys and no others")
        message = codec.advert_message(self.terms, found[0])
        if not self._verify(self._directory.keys[sender], found[0].signature, message):
            raise ProtocolError(f"the advert of client {sender} is not signed by it")
        self._adverts[place] = found[0]

    def _shares(self, place: int, records: bytes) -> None:
        sealed = codec.sealed_from_bytes(records)
        near, cohort = self._near(place, self._advertised), self.terms.cohort
        if sealed.keys() != {cohort[p] for p in near}:
            raise ProtocolError(f"client {cohort[place]} must seal a share to each neighbour")
        for peer in near:
            one = sealed[cohort[peer]]
            self._sealed.setdefault(peer, []).append(one._replace(peer=cohort[place]))
            self._dealt.setdefault(place, {})[peer] = one.seed + one.key

    def _masked(self, body: bytes) -> None:
        if len(body) != len(self._bond) + 4 * self.terms.dims:
            raise ProtocolError(f"a masked vector must have {self.terms.dims} numbers of 4 bytes")
        if not body.startswith(self._bond):
            raise ProtocolError("a client masked under other terms, another plan or another set "
                                "of clients than this server's")
        self._total += np.frombuffer(body, dtype="<u4", offset=len(self._bond))

    def _signature(self, place: int, signature: bytes) -> None:
        key = self._directory.keys[self.terms.cohort[place]]
        expected = codec.survivors_message(self._bond, self._list)
        if len(signature) != SIGNATURE_BYTES or not self._verify(key, signature, expected):
            raise ProtocolError(f"client {self.terms.cohort[place]} signed no such survivors")
        self._signatures[place] = signature

    def _unmask(self, place: int, shares: bytes, without: bytes) -> None:
        lacking = codec.slots_from_bytes(without, self.terms)
        self._opened().take(place, self._shared, self._survivors, lacking, shares)

    def _opened(self) -> Revealed:
        if self._revealed is None:
            self._revealed = Revealed(self.terms, self._dealt)
        return self._revealed

    def _near(self, place: int, members: int) -> list[int]:
        return [p for p in self.terms.graph.neighbours(place) if members >> p & 1]

    def _sustained(self) -> int:
        """Who came and has enough neighbours who came; others could never be recovered."""
        return sustained(self.terms.graph, self._came, self.terms.threshold)

    def _check(self, message: Message) -> int:
        wanted = _KINDS.get(message.kind)
        if wanted is None:
            raise ProtocolError(f"a server takes no message of kind {message.kind}")
        if message.receiver != SERVER or message.round != self.terms.number:
            raise ProtocolError(f"a message to {message.receiver} of round {message.round} came to "
                                f"the server of {self.terms.number}")
        place = self.terms.position.get(message.sender)
        if place is None:
            raise ProtocolError(f"client {message.sender} is not of this cohort")
        if wanted != self._awaits:
            raise ProtocolError(f"{message.kind} came while the server takes "
                                f"{self._awaits.name.lower()}: late, early or replayed")
        if not self._expected >> place & 1:
            raise ProtocolError(f"client {message.sender} dropped out at an earlier stage")
        if self._came >> place & 1:
            raise ProtocolError(f"client {message.sender} sent {message.kind} twice")
        return place

    def _ends(self, stage: Await) -> None:
        if self._awaits != stage:
            raise ProtocolError(f"the server takes {self._awaits.name.lower()}, and cannot end "
                                f"{stage.name.lower()}")

    def _opening(self) -> None:
        if self._awaits not in (Await.SIGNATURE, Await.UNMASK):
            raise ProtocolError(f"the server takes {self._awaits.name.lower()}: no sum is being "
                                "opened")

    def _next(self, members: int, what: str, fewest: int | None = None) -> int:
        fewest = self.terms.min_survivors if fewest is None else fewest
        if members.bit_count() < fewest:
            raise self._abort(f"only {members.bit_count()} clients {what}, fewer than {fewest}")
        self._awaits, self._expected, self._came = Await(self._awaits + 1), members, 0
        return members

    def _abort(self, why: str) -> RoundAborted:
        self._awaits, self._expected, self._came = Await.NOTHING, 0, 0
        self._total, self._revealed = np.zeros(0, dtype=np.uint32), None
        return RoundAborted(f"round {self.terms.number}: {why}; nothing of its sum was opened")

    def _route(self, kind: str, bodies: list[tuple[int, bytes]]) -> list[Message]:
        cohort, number = self.terms.cohort, self.terms.number
        return [Message(kind, SERVER, cohort[place], number, body) for place, body in bodies]
