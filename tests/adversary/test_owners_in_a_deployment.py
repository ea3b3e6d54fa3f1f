"""Nodes of unequal sizes against an active server: what a deployment makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.deployment import app
from experiments.deployment.journal import FileJournal
from experiments.deployment.parties import Party
from privacy.aggregation.simulated.masked import MaskedAggregator
from privfedmm.base.errors import ABORTED, UserError
from privfedmm.federation import transport
from privfedmm.federation.codec import decode, encode
from privfedmm.runs.run import load_data
from privfedmm.runs.session import Session
from tests.deployments import ONE, exact, released
from tests.federation.conftest import Loop, Tamper, settle
from tests.federation.outcomes import Killed
from tests.ledgers import charges

SIZES = (12, 9, 8, 7)
UNEQUAL: dict[str, Any] = {
    **ONE, "secure.nodes": SIZES, "secure.dropout": 0.32, "secure.server": "active"}


def unequal(tmp_path: Path, **flags: Any) -> tuple[Any, Path, Loop]:
    return settle({**UNEQUAL, **flags}, tmp_path / "run", nodes=4)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_node_that_vanishes_leaves_the_exact_sum_of_the_others(
    tmp_path: Path, lost: int
) -> None:
    config, out, loop = unequal(tmp_path)
    loop.before = lambda kind, node, body: (
        None if (node, kind) == (lost, transport.UPLOAD) else body)
    app.play(loop, out, out / "deploy")
    first = sum(SIZES[:lost])
    alive = np.array([n for n in range(36) if not first <= n < first + SIZES[lost]])
    ours, right = released(out), exact(config, alive)
    assert ours.keys() == right.keys()
    assert all((ours[name] == right[name]).all() for name in ours)


def test_the_largest_is_more_than_may_vanish(tmp_path: Path) -> None:
    _, out, loop = unequal(tmp_path)
    loop.before = lambda kind, node, body: None if (node, kind) == (0, transport.UPLOAD) else body
    with pytest.raises(UserError, match="fewer living neighbours than the threshold") as caught:
        app.play(loop, out, out / "deploy")
    assert caught.value.code == ABORTED and not (out / "release.pt").exists()


def test_parties_plan_for_the_largest_owner(tmp_path: Path) -> None:
    config, out, _ = unequal(tmp_path)
    party = Party.read(out / "deploy" / "server")
    choice = party.agreed.tolerance.choice(tuple(range(36)))
    assert (choice.degree, choice.colluding, choice.dropped) == (35, 12, 11)
    assert 2 * choice.threshold > choice.degree + 12
    # Noise counts on nobody of that owner either: 25 survive, 12 of them may take theirs back.
    statement = party.config
    assert statement.secure.nodes == SIZES and config.secure.nodes == SIZES
    from privfedmm.privacy_plan.plan import plan

    assert plan(config, 36, 240).shares is not None
    assert plan(config, 36, 240).shares.count == 13  # type: ignore[union-attr]


@pytest.mark.parametrize("flags, sentence", [
    ({"secure.dropout": 0.4}, "no 1 of the owners hold more than"),
    ({"secure.nodes": (20, 16)}, None),
    ({"secure.colluding_nodes": 2}, "secure.dropout to at most"),
])
def test_sizes_that_leave_no_room_are_refused(
    tmp_path: Path, flags: dict[str, Any], sentence: str | None
) -> None:
    if sentence is None:  # sizes of two owners for four nodes are shared anew, and said
        with pytest.raises(UserError, match=r"secure\.nodes: the config has 20, 16 users"):
            unequal(tmp_path, **flags)
        return
    with pytest.raises(UserError, match=sentence):
        unequal(tmp_path, **flags)
    assert not (tmp_path / "run" / "deploy").exists()


def of_nodes(*nodes: int) -> np.ndarray:
    """The users of these nodes."""
    return np.concatenate([np.arange(36)[sum(SIZES[:n]):sum(SIZES[:n + 1])] for n in nodes])


def same(out: Path, right: dict[str, Any]) -> bool:
    ours = released(out)
    return ours.keys() == right.keys() and all((ours[name] == right[name]).all() for name in ours)


def test_a_node_that_never_comes_is_left_out_from_the_start(tmp_path: Path) -> None:
    config, out, loop = unequal(tmp_path)
    loop.before = lambda kind, node, body: None if node == 3 else body
    app.play(loop, out, out / "deploy")
    assert same(out, exact(config, of_nodes(0, 1, 2)))


def test_a_run_begins_when_enough_nodes_have_shown_their_parts_of_the_beacon(
    tmp_path: Path
) -> None:
    config, out, loop = unequal(tmp_path)
    loop.before = lambda kind, node, body: None if node in (1, 3) else body
    with pytest.raises(UserError, match=r"shard-1, shard-3 have not shown their parts .* 3 of 4 "
                                        r"parts at least, and 2 are there"):
        app.play(loop, out, out / "deploy")
    assert charges(out) == []
    loop.before = lambda kind, node, body: body
    app.play(loop, out, out / "deploy")
    assert same(out, exact(config, np.arange(36)))


def test_a_node_that_comes_late_takes_the_beacon_that_there_is(tmp_path: Path) -> None:
    """The server dies after the first exchanges; started again, it goes on with the first parts."""
    config, out, loop = unequal(tmp_path, **{"dp.spare_rounds": 1})

    def dies(kind: str, node: int, body: bytes) -> bytes | None:
        if kind == transport.UPLOAD:
            raise Killed
        return None if node == 3 else body

    loop.before = dies
    with pytest.raises(Killed):
        app.play(loop, out, out / "deploy")
    loop.before = lambda kind, node, body: body
    app.play(loop, out, out / "deploy")
    assert same(out, exact(config, np.arange(36), attempt=1))
    entry = FileJournal(out / "deploy").get()
    assert entry is not None and entry.parts.keys() == {"shard-0", "shard-1", "shard-2"}
    for folder in loop.folders:
        assert Party.read(folder).node(True)._masked.parts == entry.parts


def test_a_node_that_shows_another_part_is_named_and_chooses_nothing(tmp_path: Path) -> None:
    """It takes part like one that came late."""
    config, out, loop = unequal(tmp_path)

    def lies(kind: str, node: int, body: bytes) -> bytes:
        if (kind, node) == (transport.PREPARE, 3):
            values = decode(body, _kinds(out))
            return encode({**values, "parts": {"shard-3": bytes(32)}})
        return body

    loop.after = lies
    app.play(loop, out, out / "deploy")
    log = (out / "deploy" / "exchanges.json").read_text(encoding="utf-8")
    assert "shard-3 shows another part of the run's beacon than it committed to" in log
    assert same(out, exact(config, np.arange(36)))


def shown(out: Path, parts: Callable[[int, dict[str, bytes]], dict[str, bytes]]) -> Tamper:
    """A server that shows each node what it likes."""
    def grinds(kind: str, node: int, body: bytes) -> bytes:
        if kind == transport.SHARE:
            values = decode(body, _kinds(out))
            return encode({**values, "parts": parts(node, values["parts"])})
        return body

    return grinds


def test_nodes_refuse_a_beacon_that_the_server_makes_up(tmp_path: Path) -> None:
    _, out, loop = unequal(tmp_path)
    loop.before = shown(out, lambda node, parts: {**parts, "shard-0": bytes(32)})
    with pytest.raises(UserError):
        app.play(loop, out, out / "deploy")
    log = (out / "deploy" / "exchanges.json").read_text(encoding="utf-8")
    assert log.count("shard-0 shows another part of the run's beacon") >= 4


def test_nodes_refuse_a_beacon_of_too_few_parts(tmp_path: Path) -> None:
    _, out, loop = unequal(tmp_path)
    loop.before = shown(out, lambda node, parts: {n: parts[n] for n in ("shard-0", "shard-1")})
    with pytest.raises(UserError):
        app.play(loop, out, out / "deploy")
    log = (out / "deploy" / "exchanges.json").read_text(encoding="utf-8")
    assert log.count("shard-2, shard-3 have not shown their parts") >= 4


@pytest.mark.parametrize("others", [(3,), (2, 3), (1, 2, 3)])
def test_nodes_that_were_shown_different_sets_of_parts_are_in_no_sum_together(
    tmp_path: Path, others: tuple[int, ...]
) -> None:
    """Every set is one that a node takes, but terms, and so masks, follow from it."""
    _, out, loop = unequal(tmp_path)
    loop.before = shown(out, lambda node, parts: parts if node not in others else {
        name: parts[name] for name in ("shard-1", "shard-2", "shard-3")})
    with pytest.raises(UserError) as caught:
        app.play(loop, out, out / "deploy")
    assert caught.value.code == ABORTED and not (out / "release.pt").exists()


def test_simulation_and_deployment_count_the_same_beacons(tmp_path: Path) -> None:
    config, out, _ = unequal(tmp_path)
    aggregator = Session.start(config, load_data(config)).stack.aggregator
    assert isinstance(aggregator, MaskedAggregator)
    for folder in ("server", "shard-2"):
        bears = Party.read(out / "deploy" / folder).agreed.tolerance
        assert bears == aggregator.tolerance and bears.beacons == 5
        assert bears.choice(tuple(range(36))) == aggregator.tolerance.choice(tuple(range(36)))


def _kinds(out: Path) -> tuple[type, ...]:
    from privfedmm.assemble import kinds_of

    return kinds_of(Party.read(out / "deploy" / "server").config)
