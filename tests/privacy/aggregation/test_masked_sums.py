"""Exact sums of whoever's vector arrived, or no sum at all."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.aggregation.masked import MaskedClient, RoundTerms
from privacy.aggregation.messages import Transcript, pack
from privacy.aggregation.simulated.masked_round import STAGES, MaskedRound
from privacy.crypto import Directory, Identity
from privacy.errors import ProtocolError, RoundAborted

IDENTITIES = {number: Identity.generate(number) for number in range(64)}
DIRECTORY = Directory.of(IDENTITIES.values())


def opened(n, degree, threshold, dims, min_survivors, dropouts, seed):  # type: ignore[no-untyped-def]
    cohort = tuple(range(64 - n, 64))
    terms = RoundTerms(b"run", 0, 0, cohort, dims, degree, threshold, min_survivors, b"model",
                       bytes(32))
    vectors = np.random.default_rng(seed).integers(0, 2**32, (n, dims), dtype=np.uint32)
    play = MaskedRound(terms, IDENTITIES, DIRECTORY, dropouts)
    play.open()
    for start in range(0, n, 7):
        play.submit(np.array(cohort[start : start + 7]), vectors[start : start + 7])
    result = play.close()
    survivors = result.survivors - (64 - n)
    expected = vectors[survivors].sum(axis=0, dtype=np.uint64).astype(np.uint32)
    assert (result.total == expected).all()
    return set(result.survivors.tolist())


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_sums_are_exact(data) -> None:  # type: ignore[no-untyped-def]
    n = data.draw(st.integers(3, 64))
    degrees = [*range(2, n - 1, 2), n - 1]
    degree = data.draw(st.sampled_from(degrees[-12:]))
    threshold = data.draw(st.integers(2, degree))
    dims = data.draw(st.sampled_from([1, 2, 3, 5, 64, 1000, 4096]))
    survivors = opened(n, degree, threshold, dims, 2, {}, data.draw(st.integers(0, 99)))
    assert len(survivors) == n


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_dropouts_give_the_right_sum_or_none(data) -> None:  # type: ignore[no-untyped-def]
    n = data.draw(st.integers(6, 30))
    degree = data.draw(st.sampled_from([*range(2, n - 1, 2), n - 1]))
    threshold = data.draw(st.integers(2, max(2, degree // 2)))
    dropouts = {
        stage: frozenset(data.draw(st.sets(st.integers(64 - n, 63), max_size=2)))
        for stage in STAGES
    }
    try:
        survivors = opened(n, degree, threshold, 3, 3, dropouts, n)
    except RoundAborted:
        return
    before = dropouts["advert"] | dropouts["shares"] | dropouts["masked"]
    assert not survivors & before


N, THRESHOLD = 9, 5
# Everyone needs `threshold` neighbours, so that threshold + 1 must stay.
LIMIT = N - THRESHOLD - 1


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("count", range(1, LIMIT + 1))
def test_dropouts_up_to_the_limit(stage: str, count: int) -> None:
    gone = frozenset(range(55, 55 + count))
    survivors = opened(N, N - 1, THRESHOLD, 8, 2, {stage: gone}, count)
    late = stage in ("signature", "unmask")
    assert survivors == set(range(55, 64)) - (frozenset() if late else gone)


@pytest.mark.parametrize("min_survivors", [2, N - LIMIT])
@pytest.mark.parametrize("stage", STAGES)
def test_one_dropout_more_opens_nothing(stage: str, min_survivors: int, table) -> None:  # type: ignore[no-untyped-def]
    play = table(n=N, degree=N - 1, threshold=THRESHOLD, min_survivors=min_survivors)
    gone = frozenset(play.terms.cohort[: LIMIT + 1])
    with pytest.raises(RoundAborted, match="nothing of its sum was opened"):
        play.finish({stage: gone})
    assert play.server._total.size == 0
    with pytest.raises(ProtocolError):
        play.server.finish()


def test_too_few_survivors_abort(table) -> None:  # type: ignore[no-untyped-def]
    play = table(n=9, degree=8, threshold=3, min_survivors=8)
    with pytest.raises(RoundAborted, match="only 7 clients sent a masked vector, fewer than 8"):
        play.finish({"masked": frozenset(play.terms.cohort[:2])})


def test_dropouts_at_every_stage_of_a_sparse_graph(table) -> None:  # type: ignore[no-untyped-def]
    play = table(n=30, degree=14, threshold=5, dims=33, min_survivors=15)
    c = play.terms.cohort
    vanish = {"advert": {c[0]}, "shares": {c[4], c[5]}, "masked": {c[9], c[10], c[11]},
              "signature": {c[2]}, "unmask": {c[20], c[21]}}
    opened = play.finish({k: frozenset(v) for k, v in vanish.items()})
    play.check(opened, frozenset({c[0], c[4], c[5], c[9], c[10], c[11]}))


def test_a_client_with_too_few_neighbours_is_left_out(table) -> None:  # type: ignore[no-untyped-def]
    """Degree and threshold are equal: with one client gone, its neighbours cannot go on, and
    those who cannot go on take theirs with them."""
    play = table(n=12, degree=4, threshold=4, min_survivors=2)
    with pytest.raises(RoundAborted):
        play.finish({"advert": frozenset(play.terms.cohort[:1])})
    play = table(n=12, degree=4, threshold=2, min_survivors=2)
    near = [play.terms.cohort[p] for p in play.terms.graph.neighbours(0)]
    gone = frozenset(near[:3])
    opened = play.finish({"advert": gone})
    assert play.terms.cohort[0] not in opened.survivors
    assert (opened.total == play.sum_of(opened.survivors)).all()


def test_a_client_that_is_never_submitted_has_dropped_out() -> None:
    terms = RoundTerms(b"run", 0, 0, tuple(range(8)), 2, 7, 3, 4, b"model", bytes(32))
    play = MaskedRound(terms, IDENTITIES, DIRECTORY)
    play.open()
    play.submit(np.arange(1, 8), np.ones((7, 2), dtype=np.uint32))
    result = play.close()
    assert result.total.tolist() == [7, 7]
    assert result.survivors.tolist() == list(range(1, 8))


def test_the_loop_counts_bytes_and_seconds() -> None:
    terms = RoundTerms(b"run", 0, 0, tuple(range(8)), 100, 7, 3, 4, b"model", bytes(32))
    transcript = Transcript()
    play = MaskedRound(terms, IDENTITIES, DIRECTORY, {}, transcript)
    play.open()
    play.submit(np.arange(8), np.ones((8, 100), dtype=np.uint32))
    result = play.close()
    for number in range(8):
        assert result.bytes_up[number] == transcript.bytes_from(number) > 400
        assert result.bytes_down[number] == transcript.bytes_to(number) > 0
    assert result.seconds_of("client") > 0 and result.seconds_of("server") > 0
    # Each signature is really checked once, each key agreed once, the others are remembered.
    known = play.remembered
    assert (known.checks, known.reused_checks) == (16, 14 * 8)
    assert known.derivations == known.reused_derivations == 2 * 8 * 7 // 2


def test_the_loop_refuses_wrong_blocks() -> None:
    terms = RoundTerms(b"run", 0, 0, tuple(range(8)), 4, 7, 3, 4, b"model", bytes(32))
    with pytest.raises(ValueError, match="no stage is called"):
        MaskedRound(terms, IDENTITIES, DIRECTORY, {"lunch": frozenset({1})})
    play = MaskedRound(terms, IDENTITIES, DIRECTORY)
    play.open()
    with pytest.raises(ValueError, match=r"must be \[2, 4\]"):
        play.submit(np.arange(2), np.ones((2, 5), dtype=np.uint32))
    with pytest.raises(ValueError, match="outside the cohort"):
        play.submit(np.array([9]), np.ones((1, 4), dtype=np.uint32))
    with pytest.raises(ValueError, match="must be uint32"):
        play.submit(np.array([1]), np.ones((1, 4), dtype=np.int32))
    play.submit(np.array([1]), np.ones((1, 4), dtype=np.uint32))
    with pytest.raises(ProtocolError, match="twice"):
        play.submit(np.array([1]), np.ones((1, 4), dtype=np.uint32))


def test_every_state_survives_the_disk(table) -> None:  # type: ignore[no-untyped-def]
    """A client that is saved and woken around every message takes the round to the same sum."""
    play = table(n=8, degree=4, threshold=2, min_survivors=3)
    gone = play.terms.cohort[3]

    def woken(client: MaskedClient) -> MaskedClient:
        back = MaskedClient.from_bytes(
            client.to_bytes(), play.identities[client.number], play.directory, play.floor
        )
        assert back.to_bytes() == client.to_bytes() and back.stage == client.stage
        return back

    for stage in STAGES:
        play.until(stage)
        for number in play.asked():
            if number == gone and stage == "masked":
                continue
            client = woken(play.clients[number])
            if stage == "masked":
                client.receive_shares(play.routed[number])
                client = woken(client)
                play.send(client.mask(play.vectors[number]))
            else:
                play.send(play.answer(client))
            play.clients[number] = woken(client)
        if stage != "unmask":
            play.advance()
    play.check(play.server.finish(), frozenset({gone}))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [({"stage": 9}, "a key or a stage"), ({"seed": b"short"}, "a key or a stage"),
     ({"held": {99: bytes(66)}}, "without a neighbour"), ({"held": {0: b""}}, "66 bytes a slot"),
     ({"opening": 3}, "must be dict")],
)
def test_edited_states_are_refused(changed, sentence, table) -> None:  # type: ignore[no-untyped-def]
    play = table()
    client = play.clients[play.terms.cohort[0]]
    state = {**msgpack.unpackb(client._state.to_bytes(), strict_map_key=False), **changed}
    body = pack({"terms": play.terms.to_bytes(), "state": pack(state)})
    with pytest.raises(ProtocolError, match=sentence):
        MaskedClient.from_bytes(body, play.identities[client.number], play.directory, play.floor)


def test_secrets_leave_the_state_after_their_last_use(table) -> None:  # type: ignore[no-untyped-def]
    play = table()
    client = play.clients[play.terms.cohort[0]]
    play.until("masked")
    seed, key = client._state.seed, client._state.mask.secret_bytes()
    assert seed in client.to_bytes() and key in client.to_bytes()
    play.until("signature")
    assert seed not in client.to_bytes() and key not in client.to_bytes()
    held = list(client._state.held.values())
    play.until("unmask")
    play.all_answer()
    assert not client._state.held
    assert not any(h in client.to_bytes() for h in held)


def test_keys_may_be_exchanged_before_the_model_comes(table) -> None:  # type: ignore[no-untyped-def]
    play = table()
    early = play.other_terms(plan_hash=None)
    play.clients = {c: play.client(c, early) for c in play.terms.cohort}
    play.until("masked")
    number = play.terms.cohort[0]
    client = play.clients[number]
    with pytest.raises(ProtocolError, match="lack the hash of the plan"):
        play.answer(client)
    for other in play.clients.values():
        other.receive_plan(b"the plan's hash")
    with pytest.raises(ProtocolError, match="another plan"):
        client.receive_plan(b"a second plan")
    play.send(client.mask(play.vectors[number]))
    for rest in play.terms.cohort[1:]:
        play.send(play.answer(play.clients[rest]))
    play.advance()
    play.check(play.finish())
    with pytest.raises(ProtocolError, match="after the vector was masked"):
        client.receive_plan(b"the plan's hash")


def test_rounds_may_overlap(table) -> None:  # type: ignore[no-untyped-def]
    """Three exchanges a round: keys of the next round travel while this one is open."""
    now, then = table(round=(0, 0)), table(round=(1, 0))
    now.until("masked")
    then.until("shares")
    now.until("signature")
    then.until("masked")
    now.check(now.finish())
    then.check(then.finish())
