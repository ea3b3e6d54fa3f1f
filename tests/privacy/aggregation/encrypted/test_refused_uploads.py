"""Uploads, vectors and terms that are refused: a typed error, and nothing of them in the sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from privacy.aggregation.encrypted import EncryptedClient, EncryptedServer, Terms
from privacy.aggregation.messages import Message, pack
from privacy.crypto.he_parameters import plan
from privacy.errors import CapacityError, ProtocolError, RoundAborted

DIMS, MOST, CLIENTS = 30, 1000, 4


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


Bend = Callable[[Any, Terms, Message], Message]
BAD_UPLOADS: dict[str, tuple[Bend, str]] = {
    "tampered": (lambda w, t, m: w.bent(m, ciphertexts=flipped(
        w.read(m)["ciphertexts"], 20_000)), "signature of party 0"),
    "truncated": (lambda w, t, m: replace(m, body=m.body[:-9]), "cannot be read"),
    "another signature": (lambda w, t, m: w.bent(m, signature=bytes(64)), "signature"),
    "another's name": (lambda w, t, m: replace(m, sender=3), "signature of party 3"),
    "stranger": (lambda w, t, m: replace(m, sender=CLIENTS), "not in the cohort"),
    "unknown": (lambda w, t, m: replace(m, sender=99), "not in the cohort"),
    "older round": (lambda w, t, m: replace(m, round=(2, 0)), "is for round"),
    "future round": (lambda w, t, m: replace(m, round=(4, 0)), "is for round"),
    "replay under a new header": (lambda w, t, m: replace(
        w.upload(0, w.terms(4)), round=t.at), "other terms"),
    "other terms": (lambda w, t, m: w.bent(m, terms=bytes(32)), "other terms"),
    "other kind": (lambda w, t, m: replace(m, kind="he-total"), "does not fit"),
    "other fields": (lambda w, t, m: replace(m, body=pack({"vector": [1, 2]})), "must hold"),
    "signed, too short": (lambda w, t, m: w.signed_as(
        t, 0, w.context.encrypt(w.vectors[0])[:-1]), "bytes of ciphertext"),
    "signed, too long": (lambda w, t, m: w.signed_as(
        t, 0, 2 * w.context.encrypt(w.vectors[0])), "bytes of ciphertext"),
    "signed, no ciphertext": (lambda w, t, m: w.signed_as(
        t, 0, bytes(w.context.upload_bytes(DIMS))), "another size"),
    "signed, other parameters": (lambda w, t, m: w.signed_as(t, 0, other_parameters(w)),
                                 "ciphertext"),
}


def other_parameters(world: Any) -> bytes:
    """A ciphertext of the other scheme, in cells of the right length."""
    other = type(world)("ckks" if world.scheme == "bfv" else "bfv").context
    cell = other.encrypt(world.vectors[0])[: world.context.cell_bytes]
    return cell + bytes(world.context.cell_bytes - len(cell))


@pytest.mark.parametrize("name", BAD_UPLOADS)
def test_bad_uploads(world: Any, name: str) -> None:
    """Refused, and the round goes on to the right sum without them."""
    bend, sentence = BAD_UPLOADS[name]
    terms = world.terms(3)
    world.agree(terms)
    server = world.server(terms)
    good = world.upload(0, terms)
    server.receive(world.upload(1, terms))
    with pytest.raises(ProtocolError, match=sentence):
        server.receive(bend(world, terms, good))
    server.receive(world.upload(2, terms))
    answer = server.finish(world.holder.decrypt(server.close()))
    np.testing.assert_array_equal(answer.totals, world.vectors[[1, 2]].sum(axis=0))
    assert answer.contributors == (1, 2)


def test_a_ciphertext_counts_once(world: Any) -> None:
    terms = world.terms()
    server = world.server(terms)
    first = world.upload(0, terms)
    server.receive(first)
    with pytest.raises(ProtocolError, match="uploaded twice"):
        server.receive(first)
    copied = world.read(first)["ciphertexts"]
    with pytest.raises(ProtocolError, match="another client's ciphertext"):
        server.receive(world.signed_as(terms, 1, copied))
    server.receive(world.upload(1, terms))
    server.close()
    with pytest.raises(ProtocolError, match="until the round closes"):
        server.receive(world.upload(2, terms))
    with pytest.raises(ProtocolError, match="closed already"):
        server.close()


def test_a_key_of_another_run_fits_nothing(world: Any, other_world: Any) -> None:
    """Same parameters, another key: clients refuse it, and its ciphertexts end as no total."""
    terms, other = world.terms(), other_world
    with pytest.raises(ProtocolError, match="another key"):
        other.upload(0, terms)
    with pytest.raises(ProtocolError, match="another key"):
        EncryptedServer(terms, other.context, world.directory)
    world.agree(terms)
    server = world.server(terms)
    server.receive(world.upload(0, terms))
    # Nothing in a ciphertext names its key: the range of the total gives it away.
    length = world.context.upload_bytes(DIMS)
    foreign = other.context.encrypt(world.vectors[1])[:length].ljust(length, b"\x00")
    server.receive(world.signed_as(terms, 1, foreign))
    with pytest.raises(ProtocolError, match="no sum of the clients"):
        world.holder.decrypt(server.close())
    with pytest.raises(ProtocolError, match="not open"):
        honest = world.server(terms)
        for client in (2, 3):
            honest.receive(world.upload(client, terms))
        world.holder.decrypt(honest.close())


BAD_VECTORS = {
    "above": lambda v: np.where(np.arange(DIMS) == 3, MOST + 1, v),
    "below": lambda v: np.where(np.arange(DIMS) == 3, -MOST - 1, v),
    "lowest int64": lambda v: np.where(np.arange(DIMS) == 3, np.iinfo(np.int64).min, v),
    "short": lambda v: v[:-1],
    "matrix": lambda v: v[None],
    "float": lambda v: v.astype(np.float64),
    "not a number": lambda v: np.full(DIMS, np.nan),
    "int32": lambda v: v.astype(np.int32),
}


@pytest.mark.parametrize("name", BAD_VECTORS)
def test_bad_vectors_never_leave_the_client(bfv_world: Any, name: str) -> None:
    world = bfv_world
    with pytest.raises(ProtocolError, match=r"exceeds 1000|quantise it"):
        world.clients[0].upload(world.terms(), BAD_VECTORS[name](world.vectors[0]))


def test_terms_a_client_refuses(bfv_world: Any) -> None:
    world = bfv_world
    for terms, sentence in (
        (world.terms(run="other"), "another run"),
        (world.terms(context=bytes(32)), "another key"),
        (world.terms(cohort=(1, 2)), "not in the cohort"),
        (world.terms(parameters=plan("bfv", 99, MOST)), "other encryption parameters"),
    ):
        with pytest.raises(ProtocolError, match=sentence):
            world.upload(0, terms)
    with pytest.raises(ProtocolError, match="client 0 asks for 3"):
        EncryptedClient(world.identities[0], "run", world.context, 3).upload(
            world.terms(), world.vectors[0])
    world.upload(0, world.terms(1, 1))
    for stale in ((1, 1), (1, 0), (0, 5)):
        with pytest.raises(ProtocolError, match="answered before"):
            world.upload(0, world.terms(*stale))


def test_terms_that_mean_nothing(bfv_world: Any) -> None:
    world = bfv_world
    for changes in ({"min_survivors": 1}, {"min_survivors": 5}, {"cohort": (0, 0, 1)},
                    {"cohort": (2, 1)}, {"cohort": ()}, {"dims": 0}, {"max_abs": 0}, {"round": -1}):
        with pytest.raises(ProtocolError):
            world.terms(**changes)
    with pytest.raises(CapacityError, match="5 clients"):
        world.terms(cohort=tuple(range(CLIENTS + 1)))
    with pytest.raises(CapacityError, match="1001"):
        world.terms(max_abs=MOST + 1)


def test_fewer_than_min_survivors(bfv_world: Any) -> None:
    world = bfv_world
    for clients in ([], [1]):
        server = world.server(world.terms())
        for client in clients:
            server.receive(world.upload(client, world.terms()))
        with pytest.raises(RoundAborted, match="and 2 are needed"):
            server.close()
