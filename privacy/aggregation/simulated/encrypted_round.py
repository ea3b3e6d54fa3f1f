"""All parties in one process, for a simulator: every message is made, checked and counted.

One process holds every key here, so a simulation protects no one; the parties' state and the
messages between them are those of a deployment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from privacy.aggregation.encrypted.bodies import TERMS
from privacy.aggregation.encrypted.client import EncryptedClient, accept_context
from privacy.aggregation.encrypted.encryption_plan import EncryptionPlan
from privacy.aggregation.encrypted.keyholder import KeyHolder, Noise, Save
from privacy.aggregation.encrypted.server import EncryptedServer
from privacy.aggregation.encrypted.terms import Terms
from privacy.aggregation.messages import KEY_HOLDER, SERVER, Message, Transcript
from privacy.aggregator import Task
from privacy.crypto.he_parameters import HEParameters
from privacy.crypto.keys import Directory, Identity
from privacy.errors import ProtocolError


@dataclass(frozen=True)
class RoundResult:
    """Hold what a round released, and what it cost.

    totals: int64 [dims], noise included where the KeyHolder adds any. contributors: rising.
    seconds: of `clients` (all of them), `server` and `key_holder`. bytes_sent: by the same three.
    """

    totals: np.ndarray
    contributors: tuple[int, ...]
    seconds: Mapping[str, float]
    bytes_sent: Mapping[str, int]


class EncryptedRun:
    """Play the parties of a run: a KeyHolder with a fresh key, and the clients with their
    identities.

    parameters: of the key. identities: the clients' keys. key_holder: the KeyHolder's. noise, save:
    as of a KeyHolder. transcript: sees every message.
    """

    def __init__(
        self, plan: EncryptionPlan, parameters: HEParameters, identities: Iterable[Identity],
        key_holder: Identity, noise: Noise | None, save: Save, transcript: Transcript,
    ) -> None:
        clients = list(identities)
        self.directory = Directory.of(clients).including(KEY_HOLDER, key_holder.verify_key())
        self.plan, self.parameters, self.transcript = plan, parameters, transcript
        fewest = plan.min_decrypted
        self.key_holder = KeyHolder(
            plan.run, parameters, key_holder, self.directory, fewest, noise, save)
        # Each client would parse the same bytes; here one parsed context serves them all.
        published = self.key_holder.publish(SERVER)
        self.context = accept_context(published, plan.run, self.directory)
        for receiver in (SERVER, *(client.number for client in clients)):
            transcript.record(replace(published, receiver=receiver))
        self.clients = {
            client.number: EncryptedClient(client, plan.run, self.context, fewest)
            for client in clients
        }

    def open(self, task: Task) -> EncryptedRound:
        """Start an attempt at a round. Raises ProtocolError or CapacityError (see Terms)."""
        unknown = [client for client in task.cohort.ids.tolist() if client not in self.clients]
        if unknown:
            raise ProtocolError(f"client {unknown[0]} of the cohort has no identity in this run")
        return EncryptedRound(self, self.plan.terms(task, self.context, self.parameters))


class EncryptedRound:
    """Play one attempt at one round: vectors go in by blocks, the total comes out once."""

    def __init__(self, parties: EncryptedRun, terms: Terms) -> None:
        self._parties, self.terms = parties, terms
        self._seconds = {"clients": 0.0, "server": 0.0, "key_holder": 0.0}
        self._bytes = {"clients": 0, "server": 0, "key_holder": 0}
        self._server = EncryptedServer(terms, parties.context, parties.directory)
        body = terms.to_bytes()
        for receiver in (KEY_HOLDER, *terms.cohort):
            self._send(Message(TERMS, SERVER, receiver, terms.at, body), "server")
        with self._timed("key_holder"):
            parties.key_holder.agree(Message(TERMS, SERVER, KEY_HOLDER, terms.at, body))

    def submit(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Encrypt and send the vectors of a block of clients: ids [block], int64 [block, dims].

        Raises ProtocolError at the first client that refuses or is refused; the round then holds
        those before it, and is best given up for another attempt.
        """
        if len(ids) != len(vectors):
            raise ProtocolError(f"{len(vectors)} vectors came for {len(ids)} clients")
        for client, vector in zip(ids.tolist(), vectors, strict=True):
            if client not in self._parties.clients:
                raise ProtocolError(f"client {client} has no identity in this run")
            with self._timed("clients"):
                upload = self._parties.clients[client].upload(self.terms, vector)
            self._send(upload, "clients")
            with self._timed("server"):
                self._server.receive(upload)

    def close(self) -> RoundResult:
        """Return the released total. A client that sent nothing has dropped out.

        Raises RoundAborted with fewer than min_survivors contributors, ProtocolError where the
        KeyHolder refuses; nothing is released then.
        """
        with self._timed("server"):
            total = self._server.close()
        self._send(total, "server")
        with self._timed("key_holder"):
            answer = self._parties.key_holder.decrypt(total)
        self._send(answer, "key_holder")
        with self._timed("server"):
            released = self._server.finish(answer)
        return RoundResult(
            released.totals, released.contributors, dict(self._seconds), dict(self._bytes))

    def _send(self, message: Message, by: str) -> None:
        self._bytes[by] += message.nbytes()
        self._parties.transcript.record(message)

    @contextmanager
    def _timed(self, party: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[party] += time.perf_counter() - start
