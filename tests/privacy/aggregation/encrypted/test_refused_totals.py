"""Totals, terms and results that are refused: a typed error, and nothing decrypted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from privacy.aggregation.encrypted import KeyHolder
from privacy.aggregation.encrypted.bodies import TERMS
from privacy.aggregation.messages import KEY_HOLDER, SERVER, Message
from privacy.crypto.he_parameters import plan
from privacy.errors import ProtocolError, RoundAborted

DIMS, MOST, CLIENTS = 30, 1000, 4


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def cut(world: Any, message: Message, keep: int) -> Message:
    body = world.read(message)
    return world.bent(
        message, contributors=body["contributors"][:keep],
        ciphertexts=body["ciphertexts"][: 32 * keep], signatures=body["signatures"][: 64 * keep])


def doubled(world: Any, message: Message) -> Message:
    """Client 0 listed as 0 and as 1, with its own hash and signature."""
    body = world.read(message)
    hashes, signatures = body["ciphertexts"], body["signatures"]
    return world.bent(message, ciphertexts=2 * hashes[:32] + hashes[64:],
                      signatures=2 * signatures[:64] + signatures[128:])


BAD_TOTALS: dict[str, tuple[Callable[[Any, Message], Message], type[Exception], str]] = {
    "one contributor": (lambda w, m: cut(w, m, 1), RoundAborted, "1 clients"),
    "none": (lambda w, m: cut(w, m, 0), RoundAborted, "0 clients"),
    "forged signature": (lambda w, m: w.bent(m, signatures=flipped(
        w.read(m)["signatures"], 70)), ProtocolError, "signature of party 1"),
    "other ciphertext": (lambda w, m: w.bent(m, ciphertexts=flipped(
        w.read(m)["ciphertexts"], 40)), ProtocolError, "signature of party 1"),
    "one signature twice": (lambda w, m: doubled(w, m), ProtocolError, "same ciphertext"),
    "one client twice": (lambda w, m: w.bent(m, contributors=[0, 0, 2, 3]), ProtocolError,
                         "each once"),
    "stranger": (lambda w, m: w.bent(m, contributors=[0, 1, 2, CLIENTS]), ProtocolError,
                 "of the cohort"),
    "no numbers": (lambda w, m: w.bent(m, contributors=["0", "1", "2", "3"]), ProtocolError,
                   "contributors"),
    "signature missing": (lambda w, m: w.bent(m, signatures=b""), ProtocolError,
                          "one signature"),
    "other terms": (lambda w, m: w.bent(m, terms=bytes(32)), ProtocolError, "other terms"),
    "stale round": (lambda w, m: replace(m, round=(2, 0)), ProtocolError, "not open"),
    "other attempt": (lambda w, m: replace(m, round=(3, 1)), ProtocolError, "not open"),
    "truncated": (lambda w, m: replace(m, body=m.body[:-5]), ProtocolError, "cannot be read"),
    "from a client": (lambda w, m: replace(m, sender=1), ProtocolError, "from the server"),
}


@pytest.mark.parametrize("name", BAD_TOTALS)
def test_bad_totals(bfv_world: Any, name: str) -> None:
    """Refused before anything is decrypted: the honest total can still follow."""
    world = bfv_world
    bend, error, sentence = BAD_TOTALS[name]
    message = world.total(world.terms(3))
    with pytest.raises(error, match=sentence):
        world.holder.decrypt(bend(world, message))
    assert not world.saved
    world.holder.decrypt(message)


def test_one_clients_ciphertext_is_no_total(world: Any) -> None:
    terms = world.terms()
    message = world.total(terms)
    single = world.read(world.signed_as(terms, 0, world.context.encrypt(world.vectors[0])))
    hashes = world.read(message)["ciphertexts"]
    own = hashlib.sha256(single["ciphertexts"]).digest()
    signatures = world.read(message)["signatures"]
    with pytest.raises(ProtocolError, match="one client's ciphertext"):
        world.holder.decrypt(world.bent(message, total=single["ciphertexts"],
                                  ciphertexts=own + hashes[32:],
                                  signatures=single["signature"] + signatures[64:]))
    assert not world.saved


@pytest.mark.parametrize("total", ["garbage", "short", "scaled"])
def test_a_total_that_is_no_sum(world: Any, total: str) -> None:
    """Refused after the round is used up: no second try at the same round."""
    terms = world.terms()
    message = world.total(terms)
    held = world.read(message)["total"]
    if total == "garbage":
        forged = bytes(len(held))
    elif total == "short":
        forged = held[:-1]
    else:
        part = world.context.read(held, DIMS)
        for _ in range(11):  # the total 2,048 times: no longer in the clients' range
            part.add(part)
        forged = part.to_bytes()
    with pytest.raises(ProtocolError):
        world.holder.decrypt(world.bent(message, total=forged))
    with pytest.raises(ProtocolError, match="not open"):
        world.holder.decrypt(message)
    with pytest.raises(ProtocolError, match="stale"):
        world.agree(world.terms(0, 1))


def test_a_contributor_left_off_the_list_shows_in_the_range(bfv_world: Any) -> None:
    """Three clients' sum listed as two clients': caught where values are at the end of the range,
    and only there. The KeyHolder cannot know what is in a total (see the threat model)."""
    world = bfv_world
    world.vectors[:] = MOST
    message = cut(world, world.total(world.terms(), [0, 1, 2]), 2)
    with pytest.raises(ProtocolError, match="out of their range"):
        world.holder.decrypt(message)


def test_no_second_decryption(world: Any) -> None:
    message = world.total(world.terms(1))
    world.holder.decrypt(message)
    with pytest.raises(ProtocolError, match="not open"):
        world.holder.decrypt(message)
    for at in ((1, 0), (1, 1), (0, 7)):  # the same total, one that overlaps with it, an old one
        with pytest.raises(ProtocolError, match="stale"):
            world.agree(world.terms(*at))
    assert world.holder.decrypt(world.total(world.terms(2))).round == (2, 0)


def test_only_the_attempt_last_agreed_to_is_open(bfv_world: Any) -> None:
    world = bfv_world
    first = world.total(world.terms(0, 0))
    second = world.total(world.terms(0, 1), [0, 1, 2])
    with pytest.raises(ProtocolError, match="not open"):
        world.holder.decrypt(first)
    world.holder.decrypt(second)
    with pytest.raises(ProtocolError, match="not open"):
        world.holder.decrypt(first)


def test_a_restart_remembers_what_was_decrypted(world: Any) -> None:
    """The state is saved before the decryption, so a crash in between forgets nothing."""
    message = world.total(world.terms(5))
    world.holder.decrypt(message)
    before, _ = world.saved
    world.saved = [before]
    world.holder = world.restarted()
    assert world.holder.context.hash == world.context.hash
    with pytest.raises(ProtocolError, match="not open"):
        world.holder.decrypt(message)
    with pytest.raises(ProtocolError, match="stale"):
        world.agree(world.terms(5, 1))
    terms = world.terms(6)
    world.agree(terms)
    server = world.server(terms)
    for client in range(CLIENTS):
        server.receive(world.upload(client, terms))
    np.testing.assert_array_equal(
        server.finish(world.holder.decrypt(server.close())).totals, world.vectors[:-1].sum(axis=0))


def test_the_same_total_gets_the_same_answer_over_a_restart(world: Any) -> None:
    """With its first noise: a sum that is noised twice tells more than its price."""
    world.holder._noise = lambda size, round_, attempt: np.frombuffer(
        os.urandom(8 * size), dtype="<i8") >> 40
    message = world.total(world.terms(5))
    answer = world.holder.decrypt(message)
    world.holder = world.restarted()
    assert world.holder.repeated(message) == answer
    # Anything else is no repetition: other contributors, another attempt, another byte.
    fewer = world.total(world.terms(6, 0), [0, 1, 2])
    for other in (fewer, replace(message, round=(5, 1)), replace(fewer, round=(5, 0)),
                  replace(message, body=flipped(message.body, len(message.body) - 1))):
        assert world.holder.repeated(other) is None
    world.holder.decrypt(fewer)
    assert world.holder.repeated(message) is None


def test_before_its_answer_is_saved_a_total_is_used_up_and_has_none(bfv_world: Any) -> None:
    world = bfv_world
    message = world.total(world.terms(5))
    assert world.holder.repeated(message) is None
    world.holder.decrypt(message)
    world.saved.pop()
    world.holder = world.restarted()
    assert world.holder.repeated(message) is None
    with pytest.raises(ProtocolError, match="not open"):
        world.holder.decrypt(message)


def test_a_state_that_cannot_be_saved_stops_the_decryption(bfv_world: Any) -> None:
    def broken(state: bytes) -> None:
        raise OSError("disk full")

    world = bfv_world
    world.holder._save = broken
    message = world.total(world.terms())
    with pytest.raises(OSError, match="disk full"):
        world.holder.decrypt(message)
    with pytest.raises(ProtocolError, match="not open"):
        world.holder.decrypt(message)


def test_terms_the_key_holder_refuses(bfv_world: Any) -> None:
    world = bfv_world
    for terms, sentence in (
        (world.terms(run="other"), "another run"),
        (world.terms(context=bytes(32)), "another key"),
        (world.terms(parameters=plan("bfv", 99, MOST)), "other encryption parameters"),
        (world.terms(cohort=(0, 1, 77)), "not in the directory"),
    ):
        with pytest.raises(ProtocolError, match=sentence):
            world.agree(terms)
    with pytest.raises(ProtocolError, match="starts at 2"):
        KeyHolder("run", world.parameters, world.holder_identity, world.directory, 1, None,
                  world.saved.append)
    strict = KeyHolder("run", world.parameters, world.holder_identity, world.directory, 3, None,
                       world.saved.append)
    with pytest.raises(ProtocolError, match="KeyHolder asks for 3"):
        terms = world.terms(context=strict.context.hash)
        strict.agree(Message(TERMS, SERVER, KEY_HOLDER, terms.at, terms.to_bytes()))


def test_a_forged_result_is_refused(bfv_world: Any) -> None:
    world = bfv_world
    terms = world.terms()
    world.agree(terms)
    server = world.server(terms)
    for client in range(CLIENTS):
        server.receive(world.upload(client, terms))
    answer = world.holder.decrypt(server.close())
    totals = world.read(answer)["totals"]
    for forged in (world.bent(answer, totals=flipped(totals, 3)),
                   world.bent(answer, contributors=[0, 1]), replace(answer, round=(1, 0))):
        with pytest.raises(ProtocolError):
            server.finish(forged)
    assert server.finish(answer).contributors == tuple(range(CLIENTS))
