"""The graph: regular, the same for all who compute it, and as large as its bound asks."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from privacy.aggregation.masked import Graph
from privacy.aggregation.masked.graph import sustained


def drawn(data) -> tuple[Graph, int]:  # type: ignore[no-untyped-def]
    n = data.draw(st.integers(3, 40))
    degree = data.draw(st.sampled_from([*range(2, n - 1, 2), n - 1]))
    return Graph.of(n, degree, data.draw(st.binary(min_size=32, max_size=32))), n


def reached(graph: Graph, members: set[int]) -> set[int]:
    """Who can be reached within `members` from one of them, step by step."""
    found, waiting = set(), [min(members)]
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            waiting += [p for p in graph.neighbours(place) if p in members]
    return found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_regular_symmetric_and_mirrored(data) -> None:  # type: ignore[no-untyped-def]
    graph, n = drawn(data)
    mirror = graph.mirror()
    for place in range(n):
        near = graph.neighbours(place)
        assert len(set(near)) == len(near) == len(graph.offsets) and place not in near
        for slot, peer in enumerate(near):
            assert graph.neighbours(peer)[mirror[slot]] == place


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_connected_as_a_walk_finds(data) -> None:  # type: ignore[no-untyped-def]
    graph, n = drawn(data)
    members = data.draw(st.sets(st.integers(0, n - 1), min_size=1))
    bits = sum(1 << m for m in members)
    assert graph.connected(bits) == (reached(graph, members) == members)
    assert not graph.connected(0)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_sustained_is_the_largest_such_set(data) -> None:  # type: ignore[no-untyped-def]
    graph, n = drawn(data)
    members = data.draw(st.sets(st.integers(0, n - 1)))
    threshold = data.draw(st.integers(1, len(graph.offsets)))
    kept = set(members)
    while weak := {m for m in kept if len(kept & set(graph.neighbours(m))) < threshold}:
        kept -= weak
    assert sustained(graph, sum(1 << m for m in members), threshold) == sum(1 << m for m in kept)


def test_the_hash_alone_decides() -> None:
    one, same, other = (Graph.of(50, 6, bytes([b]) * 32) for b in (1, 1, 2))
    assert one.order.tolist() == same.order.tolist() != other.order.tolist()


def test_random_dropouts_fail_no_oftener_than_bounded() -> None:
    """2,000 draws at 30 of 100 gone: secrets are lost in a part of P[B(k, .7) < t], within 5
    standard deviations."""
    k, t, p = 20, 11, 0.3
    graph = Graph.of(100, k, bytes(32))
    near = np.array([graph.neighbours(i) for i in range(100)])
    alive = np.random.default_rng(1).random((2000, 100)) >= p
    lost = (alive[:, near].sum(axis=2) < t).mean()
    expected = binom.cdf(t - 1, k, 1 - p)
    assert abs(lost - expected) < 5 * (expected / 2000) ** 0.5
