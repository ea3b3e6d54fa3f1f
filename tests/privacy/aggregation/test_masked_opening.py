"""A server of masked sums that is saved while it opens one, and read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privacy.aggregation.masked import Await, MaskedServer
from privacy.aggregation.masked.server_state import ServerState
from privacy.aggregation.messages import Message, unpack
from privacy.crypto import Directory
from privacy.errors import ProtocolError
from tests.privacy.aggregation.conftest import Table


def restarted(one: Any) -> MaskedServer:
    return MaskedServer.from_bytes(one.server.to_bytes(), one.directory)


@settings(deadline=None, max_examples=25, suppress_health_check=[
    HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_restarted_server_opens_the_sum_of_its_survivors(
    table: Callable[..., Any], data: st.DataObject
) -> None:
    """With dropouts at every stage, restarted before signatures, before shares, or both."""
    # Three are left in the end, and so two shares of everybody's secret.
    one = table(n=8, degree=7, threshold=2, min_survivors=4)
    gone = {stage: frozenset(data.draw(st.sets(st.sampled_from(one.terms.cohort), max_size=most)))
            for stage, most in (("masked", 2), ("signature", 2), ("unmask", 1))}
    one.until("signature", gone)
    for stage in ("signature", "unmask"):
        one.until(stage, gone)
        if data.draw(st.booleans()):
            asked = [one.routed[m.receiver] for m in one.server.asked()]
            one.server = restarted(one)
            # In the same words, to the same clients: they would answer no others.
            assert one.server.asked() == asked
    one.check(one.finish(gone), gone["masked"])


def test_answers_that_came_before_the_restart_are_taken_again(table: Callable[..., Any]) -> None:
    one = table().until("signature")
    first, *others = one.asked()
    given_before = one.answer(one.clients[first])
    one.send(given_before)
    one.server = restarted(one)
    one.send(given_before)
    for number in others:
        one.send(one.answer(one.clients[number]))
    one.advance()
    one.server = restarted(one)
    one.check(one.finish())


def test_who_dropped_out_stays_out_over_a_restart(table: Callable[..., Any]) -> None:
    one = table().until("signature", {"masked": frozenset({10})})
    one.server = restarted(one)
    with pytest.raises(ProtocolError, match="dropped out"):
        one.server.receive(Message("signature", 10, -1, one.terms.number, b""))
    assert one.server.awaits == Await.SIGNATURE


@pytest.mark.parametrize("stage", ["advert", "shares", "masked"])
def test_nothing_is_saved_before_survivors_are_settled(
    stage: str, table: Callable[..., Any]
) -> None:
    one = table().until(stage)
    for step in (one.server.to_bytes, one.server.asked):
        with pytest.raises(ProtocolError, match="no sum is being opened"):
            step()


def test_nothing_is_saved_of_a_sum_that_was_opened_or_thrown_away(
    table: Callable[..., Any],
) -> None:
    one = table()
    one.finish()
    with pytest.raises(ProtocolError, match="no sum is being opened"):
        one.server.to_bytes()


def test_what_is_saved_is_the_servers_own_transcript(table: Callable[..., Any]) -> None:
    """No secret of a client is in it, and no masked vector but their sum."""
    one = table().until("unmask")
    saved = one.server.to_bytes()
    for client in one.clients.values():
        state = client._state
        assert all(pair[:16] not in saved for pair in state.held.values())
    for message in one.transcript.messages:
        if message.kind == "masked":
            assert message.body[-4 * one.dims:] not in saved
    state = ServerState.from_bytes(saved)
    assert state.to_bytes() == saved
    assert set(state.signatures) == set(range(one.n))


def broken(state: ServerState) -> dict[str, ServerState]:
    return {
        "do not lie within": replace(state, shared=state.shared & ~2),
        "lacks the keys": replace(state, adverts={p: a for p, a in state.adverts.items() if p}),
        "at which nothing": replace(state, awaits=2),
        "numbers of 4 bytes": replace(state, total=np.zeros(3, dtype=np.uint32)),
    }


@pytest.mark.parametrize("sentence", [
    "do not lie within", "lacks the keys", "at which nothing", "numbers of 4 bytes"])
def test_states_that_no_server_can_have(sentence: str, table: Callable[..., Any]) -> None:
    one = table().until("unmask")
    state = broken(ServerState.from_bytes(one.server.to_bytes()))[sentence]
    with pytest.raises(ProtocolError, match=sentence):
        MaskedServer.from_bytes(state.to_bytes(), one.directory)


@pytest.fixture(scope="module")
def saved() -> tuple[Directory, bytes]:
    one = Table().until("unmask")
    return one.directory, one.server.to_bytes()


@settings(deadline=None, max_examples=150)
@given(place=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_damaged_state_is_read_or_refused(
    saved: tuple[Directory, bytes], place: int, byte: int
) -> None:
    directory, whole = saved
    body = bytearray(whole)
    body[place % len(body)] = byte
    try:
        MaskedServer.from_bytes(bytes(body), directory)
    except ProtocolError:
        return


@settings(deadline=None, max_examples=30)
@given(end=st.integers(0, 2000))
def test_a_state_that_was_cut_is_refused(saved: tuple[Directory, bytes], end: int) -> None:
    directory, whole = saved
    with pytest.raises(ProtocolError):
        MaskedServer.from_bytes(whole[: end % len(whole)], directory)


def test_a_body_with_keys_of_no_kind_is_refused() -> None:
    """A list cannot name a value: one byte from a client must not end a server."""
    with pytest.raises(ProtocolError, match="cannot be read"):
        unpack(b"\x81\x90\x01", {"advert": bytes})
