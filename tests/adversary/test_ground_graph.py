"""Whoever chooses what the mask graph is drawn from chooses who keeps whose shares."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from experiments.deployment.journal import FileJournal
from privacy.aggregation.deployed import Agreed, MaskedDevice
from privacy.aggregation.masked import MAX_ATTEMPTS, Graph, RoundTerms, Tolerance, choose_degree
from privacy.crypto.beacon import check, commit, drawn, fresh_part
from privacy.crypto.keys import Directory
from privacy.errors import ProtocolError
from privacy.owners import Owners
from privfedmm.federation.drawing import Drawing
from privfedmm.federation.openings import Underway

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
    beacon = drawn(b"run", commitments, parts, 10)
    back = dict(reversed(parts.items()))
    assert len(beacon) == 32 and beacon == drawn(b"run", commitments, back, 10)
    for n in range(1000):
        with pytest.raises(ProtocolError, match="shard-9 shows another part"):
            check(b"run", commitments, "shard-9", n.to_bytes(32, "little"))
    with pytest.raises(ProtocolError, match="shard-9 has not shown its part"):
        drawn(b"run", commitments, {p: parts[p] for p in PARTIES[:9]}, 10)
    with pytest.raises(ProtocolError, match="none of its parties"):
        check(b"run", commitments, "shard-10", fresh_part())


def test_a_copied_commitment_is_of_no_use() -> None:
    """Nobody can commit to what another will show, for the name is in it; nor to another run."""
    part = fresh_part()
    commitments = {"shard-0": commit(b"run", "shard-0", part),
                   "shard-1": commit(b"run", "shard-0", part)}
    with pytest.raises(ProtocolError, match="shard-1 shows another part"):
        drawn(b"run", commitments, {"shard-0": part, "shard-1": part}, 2)
    with pytest.raises(ProtocolError, match="shard-0 shows another part"):
        check(b"other", commitments, "shard-0", part)


def test_every_part_and_the_run_are_in_the_beacon() -> None:
    parts = {party: bytes([n]) * 32 for n, party in enumerate(PARTIES)}
    seen = set()
    for changed in [None, *PARTIES]:
        mine = {**parts, **({changed: bytes([99]) * 32} if changed else {})}
        commitments = {party: commit(b"run", party, part) for party, part in mine.items()}
        seen.add(drawn(b"run", commitments, mine, 10))
    assert len(seen) == 11


PARTS = {party: bytes([n]) * 32 for n, party in enumerate(PARTIES)}
COMMITMENTS = {party: commit(b"run", party, part) for party, part in PARTS.items()}


def agreed(tolerance: Tolerance) -> Agreed:
    sizes = tolerance.owners.sizes or ()
    return Agreed(b"run", "masked", "masked", sum(sizes), 1, tolerance,
                  {party: COMMITMENTS[party] for party in PARTIES[:len(sizes)]}, "bfv")


def subsets(count: int) -> Iterator[dict[str, bytes]]:
    for size in range(count + 1):
        for chosen in combinations(PARTIES[:count], size):
            yield {party: PARTS[party] for party in chosen}


@pytest.mark.parametrize(("tolerance", "fewest"), [
    (Tolerance(0.1, Owners((10,) * 10)), 9),
    (Tolerance(0.4, Owners((12,) * 3)), 2),
    (Tolerance(0.1, Owners((12,) * 3)), 3),
    (Tolerance(0.4, Owners((10,) * 10)), 6),
    # More may side with the server than stay: all parts but as many as leave an honest one.
    (Tolerance(0.4, Owners((10,) * 10, nodes=7)), 8),
    (Tolerance(0.4, Owners((10,) * 10, nodes=10)), 10),
    (Tolerance(0.4, Owners((10,) * 10, share=0.75)), 8),
    # Whoever a sum can do without: three owners of two clients, though a fifth of four is none.
    (Tolerance(0.2, Owners((30, 2, 2, 2), nodes=0)), 1),
    (Tolerance(0.2, Owners((30, 2, 2, 2))), 2),
    (Tolerance(0.32, Owners((12, 9, 8, 7))), 3),
    (Tolerance(0.0, Owners((5, 5), nodes=0)), 2),
])
def test_a_server_that_sees_all_parts_has_so_many_beacons_and_no_more(
    tolerance: Tolerance, fewest: int
) -> None:
    """It tries every set of parts: what it gets is as many values as the failures are counted for.
    """
    assert tolerance.fewest_parts == fewest
    count, found = len(tolerance.owners.sizes or ()), set()
    for parts in subsets(count):
        if len(parts) >= fewest:
            found.add(agreed(tolerance).beacon(parts))
        else:
            with pytest.raises(ProtocolError, match=f"drawn from {fewest} of {count} parts"):
                agreed(tolerance).beacon(parts)
    assert len(found) == tolerance.beacons


def test_no_set_is_of_those_alone_who_may_side_with_the_server() -> None:
    """They know each other's parts before they commit, and could have ground their value."""
    for colluding in range(10):
        tolerance = Tolerance(0.4, Owners((10,) * 10, nodes=colluding))
        assert (tolerance.fewest_parts or 0) > colluding
        with pytest.raises(ProtocolError):
            agreed(tolerance).beacon({party: PARTS[party] for party in PARTIES[:colluding]})


def test_more_nodes_than_were_planned_for_are_more_than_was_counted() -> None:
    planned = replace(agreed(Tolerance(0.4, Owners((12,) * 3))), commitments=COMMITMENTS)
    with pytest.raises(ProtocolError, match=r"10 nodes committed .* 3 were planned for"):
        planned.beacon(PARTS)


@pytest.mark.parametrize("sizes", [(100,) * 10, (30,) * 30])
@pytest.mark.parametrize("active", [True, False])
def test_all_beacons_are_in_the_chance_of_failure(sizes: tuple[int, ...], active: bool) -> None:
    n, tolerance = sum(sizes), Tolerance(0.1, Owners(sizes), active)
    choice = tolerance.choice(tuple(range(n)))
    counted, alone = (choose_degree(n, choice.dropped, choice.colluding, bits, active_server=active)
                      for bits in (20 + math.log2(8 * tolerance.beacons), 20 + 3))
    assert (choice.degree, choice.threshold) == counted
    assert counted[0] > alone[0]
    # Where no owners are stated one process draws the beacon, and there is nothing to choose.
    assert Tolerance(0.1, Owners(nodes=0, share=0.1), active).beacons == 1


def test_a_node_takes_one_beacon_a_run_with_its_own_part_or_without() -> None:
    def device() -> MaskedDevice:
        return MaskedDevice(agreed(TOLERANCE), {}, Directory({}))

    node, most = device(), {party: PARTS[party] for party in PARTIES[:9]}
    with pytest.raises(ProtocolError, match="shard-8, shard-9 have not shown their parts"):
        node.learn({party: PARTS[party] for party in PARTIES[:8]})
    assert node.parts == {}
    node.learn(most)
    node.learn(most)
    woken = device()
    woken.restore(node.to_state(), lambda number: pytest.fail("no round is under way"))
    for one in (node, woken):
        with pytest.raises(ProtocolError, match="a run has one beacon"):
            one.learn(PARTS)
        assert one.parts == most


def test_the_first_parts_that_are_enough_are_the_runs(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    journal.put(Underway(0, 0, cheats=frozenset({3})))
    drawing = Drawing(agreed(TOLERANCE), journal)
    drawing.show({party: PARTS[party] for party in PARTIES[2:]})
    assert drawing.show({"shard-1": bytes(32)}) == [
        "shard-1 shows another part of the run's beacon than it committed to"]
    with pytest.raises(ProtocolError, match="9 of 10 parts at least, and 8 are there"):
        drawing.beacon()
    assert journal.get() == Underway(0, 0, cheats=frozenset({3}))
    drawing.show({"shard-1": PARTS["shard-1"]})
    first = drawing.beacon()
    drawing.show({"shard-0": PARTS["shard-0"]})
    again = Drawing(agreed(TOLERANCE), FileJournal(tmp_path))
    again.show(PARTS)
    assert drawing.beacon() == again.beacon() == first
    entry = journal.get()
    assert entry is not None and entry.parts.keys() == set(PARTIES[1:])
    assert entry.cheats == {3} and entry.then((1, 0)).parts == entry.parts
