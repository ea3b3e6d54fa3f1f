"""Nodes of unequal sizes against an active server: what a deployment makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.deployment import app
from experiments.deployment.parties import Party
from privfedmm.base.errors import ABORTED, UserError
from privfedmm.federation import transport
from privfedmm.federation.codec import decode, encode
from tests.deployments import ONE, exact, released
from tests.federation.conftest import Loop, settle
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


def test_a_run_begins_when_every_node_has_shown_its_part_of_the_beacon(tmp_path: Path) -> None:
    _, out, loop = unequal(tmp_path)
    loop.before = lambda kind, node, body: None if node == 3 else body
    with pytest.raises(UserError, match=r"shard-3 has not shown its part .* every node has to be"):
        app.play(loop, out, out / "deploy")
    assert charges(out) == []
    loop.before = lambda kind, node, body: body
    app.play(loop, out, out / "deploy")
    assert released(out)


def test_a_node_that_shows_another_part_is_named_and_chooses_nothing(tmp_path: Path) -> None:
    _, out, loop = unequal(tmp_path)

    def lies(kind: str, node: int, body: bytes) -> bytes:
        if (kind, node) == (transport.PREPARE, 3):
            values = decode(body, _kinds(out))
            return encode({**values, "parts": {"shard-3": bytes(32)}})
        return body

    loop.after = lies
    with pytest.raises(UserError, match="shard-3 has not shown its part"):
        app.play(loop, out, out / "deploy")
    log = (out / "deploy" / "exchanges.json").read_text(encoding="utf-8")
    assert "shard-3 shows another part of the run's beacon than it committed to" in log


def test_nodes_refuse_a_beacon_that_the_server_makes_up(tmp_path: Path) -> None:
    _, out, loop = unequal(tmp_path)

    def grinds(kind: str, node: int, body: bytes) -> bytes:
        if kind == transport.SHARE:
            values = decode(body, _kinds(out))
            return encode({**values, "parts": {**values["parts"], "shard-0": bytes(32)}})
        return body

    loop.before = grinds
    with pytest.raises(UserError):
        app.play(loop, out, out / "deploy")
    log = (out / "deploy" / "exchanges.json").read_text(encoding="utf-8")
    assert log.count("shard-0 shows another part of the run's beacon") >= 4


def _kinds(out: Path) -> tuple[type, ...]:
    from experiments.deployment.parties import kinds_of

    return kinds_of(Party.read(out / "deploy" / "server").config)
