"""Honest clients of one masked round, and a server that keeps everything it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from privacy.aggregation.masked import (
    Floor,
    MaskedClient,
    MaskedServer,
    RoundTerms,
    Tolerance,
    codec,
)
from privacy.aggregation.messages import SERVER, Message, pack, unpack
from privacy.crypto import Directory, Identity, KeyPair, derive_pair_key
from privacy.crypto.prg import SEED_BYTES, MaskStream
from privacy.crypto.shamir import SHARE_BYTES, combine
from privacy.errors import ProtocolError

DIMS = 6


@dataclass
class Field:
    """All clients of a round, honest ones, after a server has taken their masked vectors.

    vectors: what each of them masked, by number. masked: what each of them sent, which an honest
    server adds up and forgets, and a dishonest one keeps.
    """

    terms: RoundTerms
    clients: dict[int, MaskedClient]
    vectors: dict[int, np.ndarray]
    server: MaskedServer
    masked: dict[int, np.ndarray] = field(default_factory=dict)
    shares: dict[int, dict[int, dict[bool, bytes]]] = field(default_factory=dict)

    @classmethod
    def of(cls, tolerance: Tolerance, clients: int, beacon: bytes = bytes(32)) -> Field:
        """A round of so many clients on the graph that a tolerance asks for."""
        choice = tolerance.choice(tuple(range(clients)))
        fewest = max(clients - choice.dropped, 2)
        terms = RoundTerms(b"run", 0, 0, tuple(range(clients)), DIMS, choice.degree,
                           choice.threshold, fewest, b"plan", beacon)
        identities = {n: Identity.generate(n) for n in terms.cohort}
        directory = Directory.of(identities.values())
        floor = Floor(choice.threshold, fewest, choice.degree)
        players = {n: MaskedClient(i, terms, directory, floor) for n, i in identities.items()}
        drawn = np.random.default_rng(clients)
        vectors = {n: drawn.integers(0, 2**32, DIMS, dtype=np.uint32) for n in terms.cohort}
        return cls(terms, players, vectors, MaskedServer(terms, directory))

    def to_masked(self) -> Field:
        """Play to the point where all vectors are in, as the protocol says."""
        for client in self.clients.values():
            self.server.receive(client.advertise())
        sent = [self.clients[m.receiver].share(m) for m in self.server.route_adverts()]
        for message in sent:
            self.server.receive(message)
        for message in self.server.route_shares():
            self.clients[message.receiver].receive_shares(message)
        for number, client in self.clients.items():
            message = client.mask(self.vectors[number])
            self.server.receive(message)
            self.masked[number] = codec.vector_of(message.body).copy()
        return self

    def open_honestly(self) -> np.ndarray:
        """Play to the end as the protocol says; the server remembers what is revealed."""
        for message in self.server.announce_survivors():
            self.server.receive(self.clients[message.receiver].sign(message))
        everyone = (1 << len(self.clients)) - 1
        for message in self.server.route_signatures():
            answer = self.clients[message.receiver].unmask(message)
            self.keep(answer, everyone)
            self.server.receive(answer)
        return self.server.finish().total

    def survivors(self, members: int, number: int) -> Message:
        """A list of survivors as a server shows it to a client."""
        body = pack({"survivors": codec.members_to_bytes(members, self.terms)})
        return Message(codec.SURVIVORS, SERVER, number, self.terms.number, body)

    def keep(self, answer: Message, survivors: int) -> None:
        """Keep what an unmasking client reveals. survivors: the list that it was shown."""
        values = unpack(answer.body, {"shares": bytes, "without": bytes})
        assert not any(values["without"]), "nobody dealt a wrong share"
        for slot, peer in enumerate(self.terms.graph.neighbours(answer.sender)):
            share = values["shares"][SHARE_BYTES * slot:SHARE_BYTES * (slot + 1)]
            self.note(peer, self.terms.graph.mirror()[slot] + 1,
                      bool(survivors >> peer & 1), share)

    def collude(self, members: list[int]) -> None:
        """Keep what the devices of some clients hold of their neighbours' secrets."""
        for number in members:
            for slot, pair in self.clients[number]._state.held.items():
                peer = self.terms.graph.neighbours(number)[slot]
                at = self.terms.graph.mirror()[slot] + 1
                self.note(peer, at, True, pair[:SHARE_BYTES])
                self.note(peer, at, False, pair[SHARE_BYTES:])

    def note(self, dealer: int, at: int, seed: bool, share: bytes) -> None:
        self.shares.setdefault(dealer, {}).setdefault(at, {})[seed] = share

    def secret(self, number: int, seed: bool) -> bytes | None:
        """A client's secret, where enough shares of it are known."""
        known = [(at, pair[seed]) for at, pair in self.shares.get(number, {}).items()
                 if seed in pair][:self.terms.threshold]
        if len(known) < self.terms.threshold:
            return None
        return combine([at for at, _ in known], [share for _, share in known])

    def read(self, number: int) -> np.ndarray | None:
        """A client's vector, where both of its secrets are known: what must never happen."""
        seed, key = self.secret(number, True), self.secret(number, False)
        if seed is None or key is None:
            return None
        bond = codec.round_bond(self.terms, (1 << len(self.clients)) - 1)
        total, stream, own = self.masked[number].copy(), MaskStream(DIMS), KeyPair.from_bytes(key)
        stream.subtract(total, seed)
        for peer in self.terms.graph.neighbours(number):
            info = codec.mask_info(bond, min(number, peer), max(number, peer))
            mask = derive_pair_key(own, self.server._adverts[peer].mask, info, SEED_BYTES)
            (stream.subtract if number < peer else stream.add)(total, mask)
        return total

    def readable(self, numbers: list[int]) -> list[int]:
        """Whose vectors are read, exactly, of some clients."""
        return [n for n in numbers
                if (found := self.read(n)) is not None and (found == self.vectors[n]).all()]


def refused(client: MaskedClient, message: Message) -> bool:
    """Whether a client refuses to unmask."""
    try:
        client.unmask(message)
    except ProtocolError:
        return True
    return False
