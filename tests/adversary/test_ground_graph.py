"""Whoever chooses what the mask graph is drawn from chooses who keeps whose shares."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from privacy.aggregation.masked import MAX_ATTEMPTS, Graph, RoundTerms, Tolerance
from privacy.crypto.beacon import check, commit, drawn, fresh_part
from privacy.errors import ProtocolError
from privacy.owners import Owners

# One owner in ten holds 20 of 200 users and sides with the server.
OWNERS = Owners((20,) * 10)
TOLERANCE = Tolerance(0.1, OWNERS, active_server=False, failure_bits=20)
CHOICE = TOLERANCE.choice(tuple(range(200)))


def terms(beacon: bytes, attempt: int = 0) -> RoundTerms:
    return RoundTerms(b"run", 0, attempt, tuple(range(200)), 4, CHOICE.degree, CHOICE.threshold,
                      180, b"plan", beacon)


def most_held(graph: Graph) -> int:
    """The most shares of one honest user that the colluding owner's users keep."""
    near = np.array([graph.neighbours(place) for place in range(20, 200)])
    return int((near < 20).sum(axis=1).max())


def test_a_free_choice_of_the_graph_gives_colluders_more_shares() -> None:
    """Teeth: a thousand graphs to choose from give more than the bound allows one graph to give."""
    tried = [most_held(terms(n.to_bytes(32, "little")).graph) for n in range(1000)]
    assert max(tried) >= np.median(tried) + 3


def test_attempts_cannot_be_counted_up_until_the_graph_suits() -> None:
    """Each attempt has a graph of its own, and there are no more of them than the chance of failure
    was planned for."""
    beacon = os.urandom(32)
    graphs = {tuple(terms(beacon, attempt).graph.order.tolist()) for attempt in range(MAX_ATTEMPTS)}
    assert len(graphs) == MAX_ATTEMPTS
    with pytest.raises(ProtocolError, match="tried 8 times at most"):
        terms(beacon, MAX_ATTEMPTS)
    with pytest.raises(ProtocolError, match="tried 8 times at most"):
        replace(terms(beacon), attempt=10**6)
    assert all(most_held(terms(beacon, a).graph) < CHOICE.threshold for a in range(MAX_ATTEMPTS))


PARTIES = [f"shard-{n}" for n in range(10)]


def test_the_last_to_show_its_part_can_only_show_what_it_committed_to() -> None:
    parts = {party: fresh_part() for party in PARTIES}
    commitments = {party: commit(b"run", party, part) for party, part in parts.items()}
    beacon = drawn(b"run", commitments, parts)
    assert len(beacon) == 32 and beacon == drawn(b"run", commitments, dict(reversed(parts.items())))
    for n in range(1000):
        with pytest.raises(ProtocolError, match="shard-9 shows another part"):
            check(b"run", commitments, "shard-9", n.to_bytes(32, "little"))
    with pytest.raises(ProtocolError, match="shard-9 has not shown its part"):
        drawn(b"run", commitments, {p: parts[p] for p in PARTIES[:9]})
    with pytest.raises(ProtocolError, match="none of its parties"):
        check(b"run", commitments, "shard-10", fresh_part())


def test_a_copied_commitment_is_of_no_use() -> None:
    """Nobody can commit to what another will show, for the name is in it; nor to another run."""
    part = fresh_part()
    commitments = {"shard-0": commit(b"run", "shard-0", part),
                   "shard-1": commit(b"run", "shard-0", part)}
    with pytest.raises(ProtocolError, match="shard-1 shows another part"):
        drawn(b"run", commitments, {"shard-0": part, "shard-1": part})
    with pytest.raises(ProtocolError, match="shard-0 shows another part"):
        check(b"other", commitments, "shard-0", part)


def test_every_part_and_the_run_are_in_the_beacon() -> None:
    parts = {party: bytes([n]) * 32 for n, party in enumerate(PARTIES)}
    seen = set()
    for changed in [None, *PARTIES]:
        mine = {**parts, **({changed: bytes([99]) * 32} if changed else {})}
        commitments = {party: commit(b"run", party, part) for party, part in mine.items()}
        seen.add(drawn(b"run", commitments, mine))
    assert len(seen) == 11
