"""What the server holds: uniform numbers, no client's vector, and too few shares."""

from __future__ import annotations

import gc
import hashlib
import itertools
import os
import types

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from privacy.aggregation.masked import codec
from privacy.aggregation.messages import Message, unpack
from privacy.crypto import KeyPair, MaskStream, combine, derive_pair_key
from privacy.crypto.shamir import SHARE_BYTES

SEEDS = 200
ME = 10


@pytest.fixture
def repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets from a fixed stream, so that a statistical test gives one answer for ever."""
    numbers = itertools.count()

    def urandom(size: int) -> bytes:
        return hashlib.shake_256(b"fixed %d" % next(numbers)).digest(size)

    monkeypatch.setattr(os, "urandom", urandom)


def masked(play, fill: int) -> dict[int, np.ndarray]:  # type: ignore[no-untyped-def]
    play.vectors = {c: np.full(play.dims, fill, dtype=np.uint32) for c in play.terms.cohort}
    play.until("masked")
    sent = {c: play.answer(play.clients[c]).body[32:] for c in play.terms.cohort}
    return {c: np.frombuffer(body, dtype=np.uint32) for c, body in sent.items()}


@pytest.mark.parametrize("fill", [0, 1])
def test_masked_vectors_are_uniform(fill: int, table, repeatable: None) -> None:  # type: ignore[no-untyped-def]
    """Chi-square of each of 200 masked vectors over 256 byte values, then Kolmogorov-Smirnov of
    the 200 p-values against uniform: a false alarm once in 1,000 choices of the fixed stream."""
    p_values, products = [], []
    for seed in range(SEEDS):
        play = table(n=3, degree=2, threshold=2, min_survivors=2, dims=2048, round=(seed, 0))
        first, second, _ = masked(play, fill).values()
        counts = np.bincount(first.view(np.uint8), minlength=256)
        p_values.append(chisquare(counts).pvalue)
        products.append(np.corrcoef(first, second)[0, 1])
    assert kstest(p_values, "uniform").pvalue > 0.001
    # A correlation of 2,048 independent pairs has deviation 2048**-0.5: the mean of 200 within 4,
    # and none beyond 6, deviations: false alarms 6e-5 and below 1e-6.
    assert abs(np.mean(products)) < 4 / (2048 * SEEDS) ** 0.5
    assert np.max(np.abs(products)) < 6 / 2048**0.5


def test_the_uniformity_test_has_teeth(table, repeatable: None) -> None:  # type: ignore[no-untyped-def]
    """Masks of 31 bits, as a signed generator would give, are found by the same statistic."""
    p_values = []
    for seed in range(SEEDS):
        play = table(n=3, degree=2, threshold=2, min_survivors=2, dims=2048, round=(seed, 0))
        first = next(iter(masked(play, 0).values())) & np.uint32(2**31 - 1)
        p_values.append(chisquare(np.bincount(first.view(np.uint8), minlength=256)).pvalue)
    assert kstest(p_values, "uniform").pvalue < 1e-6


def test_equal_vectors_look_different(table) -> None:  # type: ignore[no-untyped-def]
    sent = list(masked(table(), 7).values())
    for a, b in itertools.combinations(sent, 2):
        assert not (a == b).any()


def reachable(start: object) -> list[object]:
    """All that an object leads to, short of code and modules."""
    skipped = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, skipped):
            continue
        seen[id(thing)] = thing
        waiting += gc.get_referents(thing)
        if isinstance(thing, np.ndarray) and thing.base is not None:
            waiting.append(thing.base)
        elif isinstance(thing, memoryview):
            waiting.append(thing.obj)
    return list(seen.values())


def buffers(start: object) -> list[bytes]:
    found = []
    for thing in reachable(start):
        if isinstance(thing, (bytes, bytearray)):
            found.append(bytes(thing))
        elif isinstance(thing, np.ndarray) and thing.dtype != object:
            found.append(thing.tobytes())
        elif isinstance(thing, (list, tuple)) and thing and all(
            type(i) is int and abs(i) < 2**63 for i in thing
        ):
            found.append(np.array(thing, dtype=np.int64).tobytes())
    return found


def forms(vector: np.ndarray) -> list[bytes]:
    """A vector as the bytes of the kinds of number that could carry it."""
    signed = vector.astype(np.int32)
    return [
        numbers.astype(kind).tobytes()
        for numbers in (vector, signed)
        for kind in (np.uint32, np.int64, np.float32, np.float64, ">u4")
    ]


def holds(start: object, vectors: dict[int, np.ndarray]) -> bool:
    found = buffers(start)
    return any(form in body for body in found for v in vectors.values() for form in forms(v))


def test_the_server_holds_no_clients_vector(table) -> None:  # type: ignore[no-untyped-def]
    play = table(n=8, degree=7, threshold=3, dims=40)
    small = np.random.default_rng(3)
    # Quantised updates: whole numbers that are small in size, negative ones wrapped.
    play.vectors = {
        c: small.integers(-500, 500, 40).astype(np.int32).view(np.uint32)
        for c in play.terms.cohort
    }
    vanish = {"masked": frozenset({ME}), "unmask": frozenset({13})}
    for stage in ("shares", "masked", "signature", "unmask"):
        play.until(stage, vanish)
        assert not holds(play.server, play.vectors), stage
    # A masked vector is added and forgotten: one buffer of this length, the running sum.
    sent = [m.body[32:] for m in play.transcript.messages if m.kind == codec.MASKED]
    assert len(sent) == 7
    assert not any(body in b for body in sent for b in buffers(play.server))
    assert sum(len(b) >= 160 and b == play.server._total.tobytes()
               for b in buffers(play.server)) == 1
    opened = play.finish(vanish)
    play.check(opened, vanish["masked"])
    assert not holds(play.server, play.vectors)
    assert not holds(play.transcript, play.vectors)
    assert not holds(list(play.clients.values()), play.vectors)
    # The walk finds what is there.
    assert holds([play.server, play.vectors], play.vectors)
    for planted in (play.vectors[ME].astype(np.int64), play.vectors[13].view(np.int32).tolist(),
                    memoryview(play.vectors[ME]), play.vectors[13].view(np.int32) * 1.0):
        play.server._planted = {"deep": [planted]}
        assert holds(play.server, play.vectors)


def test_masked_vectors_do_not_point_along_the_vectors(table) -> None:  # type: ignore[no-untyped-def]
    """|cosine| < 5 / sqrt(dims): a false alarm below 1e-6 for each of 8 clients."""
    play = table(n=8, degree=7, threshold=3, dims=4096)
    play.finish()
    for message in play.transcript.messages:
        if message.kind == codec.MASKED:
            sent = np.frombuffer(message.body[32:], dtype=np.int32).astype(float)
            own = play.vectors[message.sender].view(np.int32).astype(float)
            cosine = sent @ own / (np.linalg.norm(sent) * np.linalg.norm(own))
            assert abs(cosine) < 5 / 4096**0.5


def test_kinds_and_sizes_say_nothing_of_the_vector(table) -> None:  # type: ignore[no-untyped-def]
    """Zeros and full vectors give the same kinds of message of the same lengths."""
    seen = []
    for fill in (0, 2**32 - 1):
        play = table()
        play.vectors = {c: np.full(16, fill, dtype=np.uint32) for c in play.terms.cohort}
        play.finish()
        seen.append([(m.kind, m.sender, m.receiver, len(m.body)) for m in play.transcript.messages])
    assert seen[0] == seen[1]
    assert {kind for kind, *_ in seen[0]} == {
        "advert", "adverts", "shares", "sealed", "masked", "survivors", "signature", "signatures",
        "unmask",
    }


def attack(play, victim: int, colluders: list[int], body: bytes) -> np.ndarray | None:  # type: ignore[no-untyped-def]
    """All that a server and its colluders can do to one masked vector: recover both secrets of
    the victim from the colluders' shares, then take off its masks. None where they cannot."""
    terms, graph = play.terms, play.terms.graph
    place = terms.position[victim]
    near = graph.neighbours(place)
    held = {}
    for slot, peer in enumerate(near):
        client = play.clients[terms.cohort[peer]]
        if client.number in colluders:
            own_slot = graph.neighbours(peer).index(place)
            held[slot + 1] = client._state.held[own_slot]
    advert = play.server._adverts[place]
    for points in itertools.combinations(held, min(len(held), terms.threshold)):
        try:
            seed = combine(points, [held[x][:SHARE_BYTES] for x in points])
            key = KeyPair.from_bytes(combine(points, [held[x][SHARE_BYTES:] for x in points]))
        except ValueError:
            continue
        if codec.commitment(terms, victim, seed) != advert.commitment or key.public != advert.mask:
            continue
        stream, total = MaskStream(terms.dims), np.frombuffer(body[32:], dtype=np.uint32).copy()
        stream.subtract(total, seed)
        bond = codec.round_bond(terms, (1 << len(terms.cohort)) - 1)
        for peer in near:
            other = terms.cohort[peer]
            info = codec.mask_info(bond, min(victim, other), max(victim, other))
            mask = derive_pair_key(key, play.server._adverts[peer].mask, info, 32)
            (stream.subtract if victim < other else stream.add)(total, mask)
        return total
    return None


@pytest.mark.parametrize("degree", [7, 4])
def test_as_many_colluders_as_the_threshold_are_needed(degree: int, table) -> None:  # type: ignore[no-untyped-def]
    """Server and t - 1 neighbours fail, in every choice; with t they read the vector."""
    play = table(n=8, degree=degree, threshold=3).until("signature")
    victim = ME
    body = next(m.body for m in play.transcript.messages
                if m.kind == codec.MASKED and m.sender == victim)
    near = [play.terms.cohort[p] for p in play.terms.graph.neighbours(0)]
    for colluders in itertools.combinations(near, 2):
        assert attack(play, victim, list(colluders), body) is None
    read = attack(play, victim, near[:3], body)
    assert read is not None and (read == play.vectors[victim]).all()


def test_what_is_revealed_is_one_secret_a_client(table) -> None:  # type: ignore[no-untyped-def]
    """Of who lives the self-mask, of who is gone the mask key: from all unmask messages together
    the other secret cannot be had."""
    play = table(threshold=3)
    seeds: dict[int, bytes] = {}
    keys: dict[int, bytes] = {}
    play.until("masked")
    for number, client in play.clients.items():
        seeds[number], keys[number] = client._state.seed, client._state.mask.secret_bytes()
    play.finish({"masked": frozenset({25})})
    graph, cohort = play.terms.graph, play.terms.cohort
    shares: dict[int, list[tuple[int, bytes]]] = {c: [] for c in cohort}
    for message in play.transcript.messages:
        if message.kind == codec.UNMASK:
            place = play.terms.position[message.sender]
            body = unpack(message.body, {"shares": bytes, "without": bytes})["shares"]
            for at, peer in enumerate(graph.neighbours(place)):
                slot = graph.neighbours(peer).index(place)
                shares[cohort[peer]].append((slot + 1, body[33 * at : 33 * at + 33]))
    for number, found in shares.items():
        secret = combine([x for x, _ in found[:3]], [s for _, s in found[:3]])
        assert secret == (keys if number == 25 else seeds)[number]


def test_fresh_secrets_every_round(table) -> None:  # type: ignore[no-untyped-def]
    """Two attempts at one round share no key, no commitment and no masked number."""
    plays = [table(round=(4, 0)), table(round=(4, 1))]
    bodies: list[list[Message]] = []
    for play in plays:
        play.vectors = {c: np.zeros(16, dtype=np.uint32) for c in play.terms.cohort}
        play.finish()
        bodies.append(play.transcript.messages)
    adverts = [
        {part for m in messages if m.kind == codec.ADVERT
         for part in codec.adverts_from_bytes(unpack(m.body, {"advert": bytes})["advert"])[0][1:]}
        for messages in bodies
    ]
    assert len(adverts[0]) == len(adverts[1]) == 4 * 6
    assert not adverts[0] & adverts[1]
