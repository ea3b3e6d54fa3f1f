"""The server's side: it adds ciphertexts, and holds a context that cannot decrypt."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from privacy.aggregation.encrypted.bodies import BODIES, RESULT, TOTAL, UPLOAD
from privacy.aggregation.encrypted.signing import check_signed
from privacy.aggregation.encrypted.terms import (
    Terms,
    result_statement,
    upload_statement,
)
from privacy.aggregation.messages import KEY_HOLDER, SERVER, Message, pack, unpack
from privacy.crypto.he import Ciphertexts, PublicContext
from privacy.crypto.keys import Directory
from privacy.errors import ProtocolError, RoundAborted


@dataclass(frozen=True)
class Total:
    """Hold what a round released. totals: int64 [dims]. contributors: whose vectors are in it."""

    totals: np.ndarray
    contributors: tuple[int, ...]


class EncryptedServer:
    """Serve one attempt at one round, by a running encrypted sum and the list of who is in it.

    Raises ProtocolError where the terms name another key than the context's.
    """

    def __init__(self, terms: Terms, context: PublicContext, directory: Directory) -> None:
        if terms.context != context.hash or terms.parameters != context.parameters:
            raise ProtocolError("the terms name another key than the server's")
        self._terms, self._context, self._directory = terms, context, directory
        self._total: Ciphertexts | None = None
        self._signed: dict[int, tuple[bytes, bytes]] = {}
        self._hashes: set[bytes] = set()
        self._contributors: list[int] = []
        self._closed = False

    def receive(self, message: Message) -> None:
        """Add one client's upload. Raises ProtocolError, and adds nothing, where it is refused."""
        client = message.sender
        if self._closed or message.kind != UPLOAD or message.receiver != SERVER:
            raise ProtocolError(f"{message.kind} does not fit: uploads do, until the round closes")
        if message.round != self._terms.at:
            raise ProtocolError(f"an upload is for round {message.round}, not {self._terms.at}")
        if client not in self._terms.members:
            raise ProtocolError(f"client {client} is not in the cohort")
        if client in self._signed:
            raise ProtocolError(f"client {client} uploaded twice in one round")
        body = unpack(message.body, BODIES[UPLOAD])
        if body["terms"] != self._terms.digest:
            raise ProtocolError(f"client {client} answers other terms")
        held = hashlib.sha256(body["ciphertexts"]).digest()
        # First whose bytes these are, then what is in them: no stranger's bytes are parsed.
        statement = upload_statement(self._terms, client, held)
        check_signed(self._directory, client, statement, body["signature"])
        if held in self._hashes:
            raise ProtocolError(f"client {client} sent another client's ciphertext")
        part = self._context.read(body["ciphertexts"], self._terms.dims)
        if self._total is None:
            self._total = part
        else:
            self._total.add(part)
        self._signed[client] = (held, body["signature"])
        self._hashes.add(held)

    def close(self) -> Message:
        """Return the encrypted total and its signed contributors, for the KeyHolder.

        Raises RoundAborted with fewer than min_survivors contributors; the sum is dropped. Raises
        ProtocolError where it was closed before.
        """
        total, self._total = self._total, None
        if self._closed:
            raise ProtocolError("the round is closed already")
        self._closed = True
        if total is None or len(self._signed) < self._terms.min_survivors:
            raise RoundAborted(f"{len(self._signed)} clients contributed and "
                               f"{self._terms.min_survivors} are needed; open another attempt")
        clients = self._contributors = sorted(self._signed)
        body = {
            "terms": self._terms.digest, "total": total.to_bytes(), "contributors": clients,
            "ciphertexts": b"".join(self._signed[c][0] for c in clients),
            "signatures": b"".join(self._signed[c][1] for c in clients),
        }
        return Message(TOTAL, SERVER, KEY_HOLDER, self._terms.at, pack(body))

    @classmethod
    def closed(
        cls, terms: Terms, context: PublicContext, directory: Directory, total: Message
    ) -> EncryptedServer:
        """Return the server that `close` left, from the total that it made.

        Raises ProtocolError where the total is for other terms.
        """
        body = unpack(total.body, BODIES[TOTAL])
        if total.round != terms.at or body["terms"] != terms.digest:
            raise ProtocolError("the saved total is for other terms")
        server = cls(terms, context, directory)
        server._contributors, server._closed = body["contributors"], True
        return server

    def finish(self, message: Message) -> Total:
        """Return the total that the KeyHolder released.

        Raises ProtocolError where it is not its own.
        """
        expected = (RESULT, KEY_HOLDER, SERVER, self._terms.at)
        if (message.kind, message.sender, message.receiver, message.round) != expected:
            raise ProtocolError("a result was expected from the KeyHolder for this round")
        body = unpack(message.body, BODIES[RESULT])
        statement = result_statement(self._terms, body["totals"], body["contributors"])
        check_signed(self._directory, KEY_HOLDER, statement, body["signature"])
        if body["contributors"] != self._contributors:
            raise ProtocolError("the result is over other contributors than the server's list")
        if len(body["totals"]) != 8 * self._terms.dims:
            raise ProtocolError(f"the result must hold {self._terms.dims} numbers of 8 bytes")
        totals = np.frombuffer(body["totals"], dtype="<i8").astype(np.int64)
        return Total(totals, tuple(body["contributors"]))
