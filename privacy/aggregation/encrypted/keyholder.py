"""The KeyHolder's side: it makes the key of a run, and decrypts one total a round.

It sees totals only, as long as the server sends totals only: nothing in a ciphertext tells
whether it is the sum of the contributors listed. Server and KeyHolder must not collude.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from privacy.aggregation.encrypted.bodies import BODIES, CONTEXT, RESULT, STATE, TERMS, TOTAL
from privacy.aggregation.encrypted.signing import check_signed, sign
from privacy.aggregation.encrypted.terms import (
    LEAST_CONTRIBUTORS,
    Terms,
    context_statement,
    parameters_from,
    result_statement,
    upload_statement,
)
from privacy.aggregation.messages import KEY_HOLDER, SERVER, Message, pack, unpack
from privacy.crypto.he import PublicContext, SecretContext, read_public
from privacy.crypto.he_parameters import HEParameters
from privacy.crypto.keys import Directory, Identity
from privacy.errors import ProtocolError, RoundAborted

Noise = Callable[[int, int, int], np.ndarray]
"""Integer noise for a total: (dims, round, attempt) -> int64 [dims]."""
Save = Callable[[bytes], None]
"""Stores the state where a restart finds it; returns once it is safe."""

_HASH, _SIGNATURE = 32, 64
_NOTHING = (-1, -1)


class KeyHolder:
    """Play the one party with the secret key of a run.

    run: the name of the run. parameters: of its encryption key. identity: its own signing key.
    directory: the verify keys of the clients. min_survivors: fewest contributors it ever decrypts
    for. noise: what is added to every total; None for exact totals. save: called with the state
    before a decryption, so that no restart forgets one, and with the answer before it leaves.
    Raises ProtocolError for min_survivors below 2.
    """

    def __init__(
        self, run: str, parameters: HEParameters, identity: Identity, directory: Directory,
        min_survivors: int, noise: Noise | None, save: Save,
        restored: tuple[SecretContext, PublicContext] | None = None,
    ) -> None:
        if min_survivors < LEAST_CONTRIBUTORS:
            raise ProtocolError(
                f"min_survivors is {min_survivors}; it starts at {LEAST_CONTRIBUTORS}")
        self._run, self._parameters, self._identity = run, parameters, identity
        self._directory, self._min_survivors = directory, min_survivors
        self._noise, self._save = noise, save
        if restored is None:
            secret = SecretContext.generate(parameters)
            restored = secret, secret.public()
        self._secret, self.context = restored
        self._decrypted = -1  # the last round whose total was decrypted
        self._agreed = _NOTHING  # the last attempt agreed to
        self._terms: Terms | None = None
        self._answer = b"", b""  # hash of the last total that was decrypted, and what was said

    def publish(self, receiver: int) -> Message:
        """Return the public context, signed: for every client and the server."""
        held = self.context
        statement = context_statement(self._run, held.hash, self._parameters, held.cell_bytes)
        body = {"run": self._run, "context": held.serialised,
                "parameters": asdict(self._parameters), "cell_bytes": held.cell_bytes,
                "signature": sign(self._identity, statement)}
        return Message(CONTEXT, KEY_HOLDER, receiver, (0, 0), pack(body))

    def agree(self, message: Message) -> None:
        """Take the server's terms for the next attempt. Raises ProtocolError
        for another run, key or parameters, too low a min_survivors, and a round that is over."""
        if message.kind != TERMS or message.sender != SERVER:
            raise ProtocolError(f"terms were expected from the server, not {message.kind}")
        terms = Terms.from_bytes(message.body)
        if terms.run != self._run or terms.context != self.context.hash:
            raise ProtocolError("the terms name another run or another key than the KeyHolder's")
        if terms.parameters != self._parameters:
            raise ProtocolError("the terms name other encryption parameters than the key's")
        if terms.min_survivors < self._min_survivors:
            raise ProtocolError(f"min_survivors is {terms.min_survivors}; the KeyHolder asks for "
                                f"{self._min_survivors}")
        if terms.round <= self._decrypted or terms.at <= self._agreed:
            raise ProtocolError(f"round {terms.at} is stale: {self._agreed} was agreed to, "
                                f"round {self._decrypted} decrypted")
        strangers = [client for client in terms.cohort if client not in self._directory]
        if strangers:
            raise ProtocolError(f"client {strangers[0]} of the cohort is not in the directory")
        self._terms, self._agreed = terms, terms.at

    def decrypt(self, message: Message) -> Message:
        """Decrypt the total of the agreed round, and return it rounded to integers, noised and
        signed.

        Raises ProtocolError where anything does not fit, RoundAborted below min_survivors. From the
        decryption on the round is used up, whatever comes of it: refused totals included.
        """
        if message.kind != TOTAL or message.sender != SERVER:
            raise ProtocolError(f"a total was expected from the server, not {message.kind}")
        terms = self._terms
        if terms is None or message.round != terms.at or terms.round <= self._decrypted:
            raise ProtocolError(f"round {message.round} is not open: its total was decrypted "
                                "before, or its terms were never agreed to")
        body = unpack(message.body, BODIES[TOTAL])
        if body["terms"] != terms.digest:
            raise ProtocolError("the total is for other terms than those agreed to")
        contributors = body["contributors"]
        self._check(terms, contributors, body["ciphertexts"], body["signatures"])
        if hashlib.sha256(body["total"]).digest() in _cut(body["ciphertexts"], _HASH):
            raise ProtocolError("the total is one client's ciphertext")
        self._decrypted, self._terms = terms.round, None
        self._save(self.to_bytes())
        totals = self._secret.decrypt(body["total"], self.context.cell_bytes, terms.dims)
        if np.abs(totals).max() > len(contributors) * terms.max_abs:
            raise ProtocolError("the total is no sum of its contributors: out of their range")
        released = (totals + self._drawn(terms)).astype("<i8").tobytes()
        statement = result_statement(terms, released, contributors)
        answer = {"totals": released, "contributors": contributors,
                  "signature": sign(self._identity, statement)}
        self._answer = message.digest(), pack(answer)
        # Saved with its noise before it leaves: asked again, the same answer is given.
        self._save(self.to_bytes())
        return Message(RESULT, KEY_HOLDER, SERVER, terms.at, self._answer[1])

    def repeated(self, message: Message) -> Message | None:
        """Return the answer once more, byte for byte and with no new noise, where the last total
        that was decrypted is asked for again; None for any other."""
        asked, answer = self._answer
        if not answer or message.digest() != asked:
            return None
        return Message(RESULT, KEY_HOLDER, SERVER, message.round, answer)

    def _check(
        self, terms: Terms, contributors: list[int], hashes: bytes, signatures: bytes
    ) -> None:
        count = len(contributors)
        if contributors != sorted(set(contributors)) or not terms.members.issuperset(contributors):
            raise ProtocolError("contributors must be of the cohort, each once, in rising order")
        if len(hashes) != count * _HASH or len(signatures) != count * _SIGNATURE:
            raise ProtocolError("every contributor has one hash and one signature")
        if count < terms.min_survivors:
            raise RoundAborted(f"{count} clients contributed and {terms.min_survivors} are needed")
        held = _cut(hashes, _HASH)
        if len(set(held)) != count:
            raise ProtocolError("two contributors signed the same ciphertext")
        for client, own, signature in zip(
            contributors, held, _cut(signatures, _SIGNATURE), strict=True
        ):
            check_signed(self._directory, client, upload_statement(terms, client, own), signature)

    def _drawn(self, terms: Terms) -> np.ndarray:
        if self._noise is None:
            return np.zeros(terms.dims, dtype=np.int64)
        drawn = self._noise(terms.dims, terms.round, terms.attempt)
        if drawn.dtype != np.int64 or drawn.shape != (terms.dims,):
            raise ProtocolError(f"noise is int64 [{terms.dims}], not {drawn.dtype} {drawn.shape}")
        return drawn

    def to_bytes(self) -> bytes:
        """Return the state with the secret key in it, for the KeyHolder's own storage alone."""
        return pack({
            "run": self._run, "secret": self._secret.to_bytes(),
            "public": self.context.serialised, "cell_bytes": self.context.cell_bytes,
            "parameters": asdict(self._parameters), "decrypted": self._decrypted,
            "agreed": list(self._agreed), "answer": list(self._answer),
        })

    @classmethod
    def from_bytes(
        cls, state: bytes, identity: Identity, directory: Directory, min_survivors: int,
        noise: Noise | None, save: Save,
    ) -> KeyHolder:
        """Return the KeyHolder after a restart: every round up to the last decrypted stays refused.

        An attempt that was agreed to before the restart must be opened again under a new number.
        Raises ProtocolError where the state cannot be read.
        """
        body = unpack(state, STATE)
        parameters = parameters_from(body["parameters"])
        secret = SecretContext.from_bytes(body["secret"], parameters)
        public = read_public(body["public"], parameters, body["cell_bytes"])
        holder = cls(body["run"], parameters, identity, directory, min_survivors, noise, save,
                     (secret, public))
        holder._decrypted = body["decrypted"]
        if len(body["agreed"]) != 2 or len(body["answer"]) != 2:
            raise ProtocolError("a saved key holder holds pairs of numbers and of bytes")
        holder._agreed = body["agreed"][0], body["agreed"][1]
        holder._answer = body["answer"][0], body["answer"][1]
        return holder


def _cut(joined: bytes, size: int) -> list[bytes]:
    return [joined[i : i + size] for i in range(0, len(joined), size)]
