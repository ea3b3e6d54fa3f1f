"""Rounds from end to end: exact totals, and what each party came to see."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest

from privacy import Cohort, Release, Task
from privacy.aggregation.encrypted import KeyHolder, Terms, accept_context
from privacy.aggregation.encrypted.encryption_plan import EncryptionPlan
from privacy.aggregation.encrypted.keyholder import Noise
from privacy.aggregation.messages import KEY_HOLDER, SERVER, Transcript, unpack
from privacy.aggregation.simulated.encrypted_round import EncryptedRun
from privacy.crypto.he_parameters import Scheme
from privacy.crypto.keys import Identity
from privacy.errors import ProtocolError, RoundAborted

SCHEMES: tuple[Scheme, ...] = ("bfv", "ckks")
UPLOAD = {"terms": bytes, "ciphertexts": bytes, "signature": bytes}


def parties(
    scheme: Scheme, clients: int, max_abs: int = 2**12, min_survivors: int = 2,
    noise: Noise | None = None, planned: int = 0,
) -> EncryptedRun:
    plan = EncryptionPlan("run", scheme, planned or clients, min_survivors)
    return EncryptedRun(
        plan, plan.parameters(task(np.arange(clients), 1, max_abs)),
        map(Identity.generate, range(clients)), Identity.generate(KEY_HOLDER), noise,
        lambda state: None, Transcript())


def task(
    cohort: np.ndarray, dims: int, max_abs: int = 2**12, at: tuple[int, int] = (0, 0)
) -> Task:
    """One release of `dims` integers. at: the numbers of round and attempt."""
    return Task(Cohort(at[0], cohort, len(cohort)), (Release("total", (dims,)),), 2, at[1],
                limit=max_abs)


def vectors_of(clients: int, dims: int, seed: int, max_abs: int = 2**12) -> np.ndarray:
    return np.random.default_rng(seed).integers(-max_abs, max_abs + 1, (clients, dims))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_thousand_clients(scheme: Scheme) -> None:
    run = parties(scheme, 1000)
    run.transcript.keep_bodies = False
    vectors = vectors_of(1000, 300, 1)
    round_ = run.open(task(np.arange(1000), 300))
    for start in range(0, 1000, 128):
        ids = np.arange(start, min(1000, start + 128))
        round_.submit(ids, vectors[ids])
    result = round_.close()
    np.testing.assert_array_equal(result.totals, vectors.sum(axis=0))
    assert result.totals.dtype == np.int64
    assert result.contributors == tuple(range(1000))
    assert all(result.seconds[party] > 0 for party in ("clients", "server", "key_holder"))
    assert result.bytes_sent["clients"] == sum(
        run.transcript.sizes["he-upload", client, SERVER] for client in range(1000))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rounds_with_dropouts_until_too_few_are_left(scheme: Scheme) -> None:
    run = parties(scheme, 6, min_survivors=4)
    cohort, vectors = np.array([0, 1, 3, 4, 5]), vectors_of(6, 40, 2)
    for round_number, present in enumerate(([0, 1, 3, 4, 5], [0, 3, 4, 5])):
        round_ = run.open(task(cohort, 40, at=(round_number, 0)))
        round_.submit(np.array(present), vectors[present])
        result = round_.close()
        np.testing.assert_array_equal(result.totals, vectors[present].sum(axis=0))
        assert result.contributors == tuple(present)
    few = run.open(task(cohort, 40, at=(2, 0)))
    few.submit(np.array([0, 1, 3]), vectors[:3])
    with pytest.raises(RoundAborted, match="3 clients contributed and 4 are needed"):
        few.close()
    again = run.open(task(cohort, 40, at=(2, 1)))  # a new attempt after the aborted one
    again.submit(cohort, vectors[cohort])
    np.testing.assert_array_equal(again.close().totals, vectors[cohort].sum(axis=0))


def test_noise_comes_from_the_key_holder() -> None:
    asked: list[tuple[int, int, int]] = []

    def noise(dims: int, round_: int, attempt: int) -> np.ndarray:
        asked.append((dims, round_, attempt))
        return np.arange(dims, dtype=np.int64) - 3

    run = parties("bfv", 3, noise=noise)
    vectors = vectors_of(3, 20, 3)
    round_ = run.open(task(np.arange(3), 20, at=(4, 2)))
    round_.submit(np.arange(3), vectors)
    np.testing.assert_array_equal(
        round_.close().totals, vectors.sum(axis=0) + np.arange(20) - 3)
    assert asked == [(20, 4, 2)]


def test_noise_of_another_kind_releases_nothing() -> None:
    run = parties("bfv", 3, noise=lambda dims, round_, attempt: np.zeros(dims))
    round_ = run.open(task(np.arange(3), 20))
    round_.submit(np.arange(3), vectors_of(3, 20, 3))
    with pytest.raises(ProtocolError, match="noise is int64"):
        round_.close()
    assert "he-result" not in {kind for kind, _, _ in run.transcript.sizes}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_each_party_sees(scheme: Scheme) -> None:
    """From the transcript: ciphertexts for the server, totals for the KeyHolder, no more."""
    run = parties(scheme, 4)
    vectors = vectors_of(4, 60, 5)
    round_ = run.open(task(np.arange(4), 60))
    round_.submit(np.arange(4), vectors)
    result = round_.close()
    server, holder = (list(run.transcript.seen_by(p)) for p in (SERVER, KEY_HOLDER))
    uploads = [m for m in server if m.kind == "he-upload"]
    assert {m.kind for m in server} == {"he-context", "he-upload", "he-result"}
    assert [m.kind for m in holder] == ["he-terms", "he-total"] and len(uploads) == 4
    assert all(set(unpack(m.body, UPLOAD)) == set(UPLOAD) for m in uploads)
    seen_by_holder = b"".join(m.body for m in holder)
    for message in uploads:
        ciphertexts = unpack(message.body, UPLOAD)["ciphertexts"]
        for at in range(4, len(ciphertexts) - 64, 4099):
            piece = ciphertexts[at : at + 64]
            assert not piece.strip(b"\x00") or piece not in seen_by_holder
    plain = [vectors[i].astype(kind).tobytes()[:40]
             for i in range(4) for kind in ("<i8", "<i4", "<i2", "<f4", "<f8")]
    every = b"".join(m.body for m in run.transcript.messages)
    assert not [p for p in plain if p in every]
    # The search has teeth: the total is found, in the one message that carries it.
    assert result.totals.astype("<i8").tobytes() in every
    for receiver in range(4):
        kinds = {m.kind for m in run.transcript.seen_by(receiver)}
        assert kinds == {"he-context", "he-terms"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_server_keeps_one_running_sum_and_no_vector(scheme: Scheme) -> None:
    run = parties(scheme, 5)
    round_ = run.open(task(np.arange(5), 60))
    round_.submit(np.arange(5), vectors_of(5, 60, 6))
    server = round_._server
    reached, queue = {id(server)}, [server]
    while queue:
        for thing in gc.get_referents(queue.pop()):
            if id(thing) not in reached:
                assert not isinstance(thing, np.ndarray | KeyHolder)
                if not isinstance(thing, type) and not hasattr(thing, "__globals__"):
                    reached.add(id(thing))
                    queue.append(thing)
    assert server._total is not None and id(server._total) in reached
    assert len(server._total._vectors) == 1
    sizes = [len(held) for pair in server._signed.values() for held in pair]
    assert set(sizes) == {32, 64}
    assert not server._context._context.is_private()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_group_shows_nowhere(scheme: Scheme) -> None:
    """A one-hot placed vector is sent in full: fields and lengths are equal whatever the group."""
    groups, width = 5, 1100
    run = parties(scheme, groups)
    vectors = np.zeros((groups, groups * width), dtype=np.int64)
    for group in range(groups):
        vectors[group, group * width : (group + 1) * width] = 1 + group
    round_ = run.open(task(np.arange(groups), groups * width))
    round_.submit(np.arange(groups), vectors)
    np.testing.assert_array_equal(round_.close().totals, np.repeat(1 + np.arange(groups), width))
    uploads = [m for m in run.transcript.messages if m.kind == "he-upload"]
    bodies = [unpack(m.body, UPLOAD) for m in uploads]
    assert len({m.nbytes() for m in uploads}) == 1
    assert {len(b["ciphertexts"]) for b in bodies} == {run.context.upload_bytes(groups * width)}
    assert len({b["terms"] for b in bodies}) == 1
    # All the same vector, and yet no two ciphertexts are.
    assert len({run.context.encrypt(vectors[0]) for _ in range(4)}) == 4
    assert len({len(run.context.encrypt(vectors[g])) for g in range(groups) for _ in range(4)}) == 1


def test_the_context_is_the_key_holders_own() -> None:
    run = parties("bfv", 2)
    message = run.key_holder.publish(0)
    assert accept_context(message, "run", run.directory).hash == run.context.hash
    with pytest.raises(ProtocolError, match="is for run 'run', not 'other'"):
        accept_context(message, "other", run.directory)
    stranger = parties("bfv", 2).key_holder.publish(0)
    with pytest.raises(ProtocolError, match="signature of party -2 does not fit"):
        accept_context(stranger, "run", run.directory)


def test_terms_survive_the_way() -> None:
    run = parties("ckks", 3)
    terms = run.open(task(np.arange(3), 10, 5, at=(1, 2))).terms
    assert Terms.from_bytes(terms.to_bytes()) == terms
    assert Terms.from_bytes(terms.to_bytes()).digest == terms.digest
    json.dumps(list(terms.cohort))  # plain integers, not numpy's
    with pytest.raises(ProtocolError):
        Terms.from_bytes(terms.to_bytes()[:-3])


def test_every_run_has_its_own_key() -> None:
    one, other = parties("bfv", 2), parties("bfv", 2)
    assert one.context.hash != other.context.hash
