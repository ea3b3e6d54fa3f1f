"""Parties of an encrypted round without the pump, so that messages can be bent on their way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from privacy.aggregation.encrypted import EncryptedClient, EncryptedServer, KeyHolder, Terms
from privacy.aggregation.encrypted.bodies import TERMS
from privacy.aggregation.encrypted.signing import sign
from privacy.aggregation.encrypted.terms import upload_statement
from privacy.aggregation.messages import KEY_HOLDER, SERVER, Message, pack, unpack
from privacy.crypto.he_parameters import Scheme, plan
from privacy.crypto.keys import Directory, Identity

DIMS, MOST, CLIENTS = 30, 1000, 4
FIELDS: dict[str, dict[str, type]] = {
    "he-upload": {"terms": bytes, "ciphertexts": bytes, "signature": bytes},
    "he-total": {"terms": bytes, "total": bytes, "contributors": list, "ciphertexts": bytes,
                 "signatures": bytes},
    "he-result": {"totals": bytes, "contributors": list, "signature": bytes},
}


@dataclass
class World:
    """A KeyHolder, CLIENTS clients and one more that is in no cohort, with a vector each."""

    scheme: Scheme
    saved: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The last is in no cohort.
        self.identities = {i: Identity.generate(i) for i in range(CLIENTS + 1)}
        self.holder_identity = Identity.generate(KEY_HOLDER)
        self.directory = Directory.of([*self.identities.values(), self.holder_identity])
        self.parameters = plan(self.scheme, CLIENTS, MOST)
        self.holder = KeyHolder("run", self.parameters, self.holder_identity, self.directory, 2,
                                None, self.saved.append)
        self.context = self.holder.context
        self.clients = {i: EncryptedClient(key, "run", self.context, 2)
                        for i, key in self.identities.items()}
        self.vectors = np.random.default_rng(0).integers(-MOST, MOST + 1, (CLIENTS + 1, DIMS))

    def terms(self, round_: int = 0, attempt: int = 0, **changes: Any) -> Terms:
        made = Terms("run", round_, attempt, tuple(range(CLIENTS)), DIMS, MOST, 2,
                     self.context.hash, self.parameters)
        return replace(made, **changes)

    def agree(self, terms: Terms) -> None:
        self.holder.agree(Message(TERMS, SERVER, KEY_HOLDER, terms.at, terms.to_bytes()))

    def server(self, terms: Terms) -> EncryptedServer:
        return EncryptedServer(terms, self.context, self.directory)

    def upload(self, client: int, terms: Terms) -> Message:
        return self.clients[client].upload(terms, self.vectors[client])

    def total(self, terms: Terms, clients: range | list[int] = range(CLIENTS)) -> Message:
        self.agree(terms)
        server = self.server(terms)
        for client in clients:
            server.receive(self.upload(client, terms))
        return server.close()

    def bent(self, message: Message, **changes: Any) -> Message:
        """The message with other values in some of its fields."""
        return replace(message, body=pack({**self.read(message), **changes}))

    def read(self, message: Message) -> dict[str, Any]:
        return unpack(message.body, FIELDS[message.kind])

    def signed_as(self, terms: Terms, client: int, ciphertexts: bytes) -> Message:
        """What a client that makes its own ciphertext would send: the signature fits."""
        statement = upload_statement(terms, client, hashlib.sha256(ciphertexts).digest())
        return Message("he-upload", client, SERVER, terms.at, pack({
            "terms": terms.digest, "ciphertexts": ciphertexts,
            "signature": sign(self.identities[client], statement)}))

    def restarted(self) -> KeyHolder:
        return KeyHolder.from_bytes(self.saved[-1], self.holder_identity, self.directory, 2, None,
                                    self.saved.append)


@pytest.fixture(params=["bfv", "ckks"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


@pytest.fixture
def bfv_world() -> World:
    return World("bfv")


@pytest.fixture
def other_world(world: World) -> World:
    """Other keys, same parameters."""
    return World(world.scheme)
