"""The client's side: check the terms and the key, encrypt, sign, keep nothing."""

from __future__ import annotations

import hashlib

import numpy as np

from privacy.aggregation.encrypted.bodies import BODIES, CONTEXT, UPLOAD
from privacy.aggregation.encrypted.signing import check_signed, sign
from privacy.aggregation.encrypted.terms import (
    Terms,
    context_statement,
    parameters_from,
    upload_statement,
)
from privacy.aggregation.messages import KEY_HOLDER, SERVER, Message, pack, unpack
from privacy.crypto.he import PublicContext, read_public
from privacy.crypto.keys import Directory, Identity
from privacy.errors import ProtocolError


def accept_context(message: Message, run: str, directory: Directory) -> PublicContext:
    """Return the KeyHolder's public context, if the KeyHolder signed it for this run.

    Raises ProtocolError otherwise, or where it holds a secret key or other parameters.
    """
    if message.kind != CONTEXT or message.sender != KEY_HOLDER:
        raise ProtocolError(f"a context was expected from the KeyHolder, not {message.kind}")
    body = unpack(message.body, BODIES[CONTEXT])
    if body["run"] != run:
        raise ProtocolError(f"the context is for run {body['run']!r}, not {run!r}")
    parameters = parameters_from(body["parameters"])
    pinned = hashlib.sha256(body["context"]).digest()
    statement = context_statement(run, pinned, parameters, body["cell_bytes"])
    check_signed(directory, KEY_HOLDER, statement, body["signature"])
    return read_public(body["context"], parameters, body["cell_bytes"])


class EncryptedClient:
    """Play one client in one run: it sends one upload an attempt, and is asked for nothing else.

    identity: the client's own key, and its number. min_survivors: fewest contributors that it
    agrees to be summed with. run: the name of the run. context: the KeyHolder's public context.
    """

    def __init__(
        self, identity: Identity, run: str, context: PublicContext, min_survivors: int
    ) -> None:
        self._number, self._run, self._identity = identity.number, run, identity
        self._context, self._min_survivors = context, min_survivors
        self._last = (-1, -1)

    def upload(self, terms: Terms, vector: np.ndarray) -> Message:
        """Return the encrypted, signed vector, int64 [dims] within +-max_abs, for the server.

        Raises ProtocolError for terms this client did not agree to, a round it has answered
        already, or a vector that does not fit the terms. Nothing of the vector is kept.
        """
        self._agree(terms)
        _check(vector, terms)
        ciphertexts = self._context.encrypt(vector)
        self._last = terms.at
        statement = upload_statement(
            terms, self._number, hashlib.sha256(ciphertexts).digest())
        body = {"terms": terms.digest, "ciphertexts": ciphertexts,
                "signature": sign(self._identity, statement)}
        return Message(UPLOAD, self._number, SERVER, terms.at, pack(body))

    def _agree(self, terms: Terms) -> None:
        if terms.run != self._run or terms.context != self._context.hash:
            raise ProtocolError("the terms name another run or another key than this client's")
        if terms.parameters != self._context.parameters:
            raise ProtocolError("the terms name other encryption parameters than the key's")
        if self._number not in terms.members:
            raise ProtocolError(f"client {self._number} is not in the cohort")
        if terms.min_survivors < self._min_survivors:
            raise ProtocolError(
                f"min_survivors is {terms.min_survivors}; client {self._number} asks for "
                f"{self._min_survivors}")
        if terms.at <= self._last:
            raise ProtocolError(f"round {terms.at} is not later than {self._last}, answered before")


def _check(vector: np.ndarray, terms: Terms) -> None:
    if vector.dtype != np.int64 or vector.shape != (terms.dims,):
        raise ProtocolError(
            f"a vector is {vector.dtype} {list(vector.shape)}; quantise it to int64 [{terms.dims}]")
    # Both ends are compared: the magnitude of the lowest int64 is no int64.
    if vector.min() < -terms.max_abs or vector.max() > terms.max_abs:
        raise ProtocolError(f"a value exceeds {terms.max_abs}; clip before quantising")
