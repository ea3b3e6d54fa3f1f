"""A registered node that lies about form: it is noted, and the run ends in the others' sum."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch

from experiments.deployment import app
from experiments.deployment.journal import FileJournal
from experiments.deployment.parties import Party
from privacy import Dense, Slotted, Touched
from privacy.aggregation.messages import Message
from privacy.errors import ProtocolError
from privfedmm.federation import transport
from privfedmm.federation.claims import challenge, check_claim, proofs
from privfedmm.federation.codec import decode, encode
from privfedmm.federation.mailbox import Mailbox, RoundLog
from tests.deployments import exact, released
from tests.federation.conftest import Settle, settle
from tests.federation.outcomes import entries

LIAR, KINDS = 0, (Message, Dense, Touched, Slotted)
HONEST = np.arange(12, 36)
MASKED: dict[str, Any] = {
    "dataset": "planted:36", "seed": 5, "baselines": ["popularity"], "aggregation": "masked",
    "dp.epsilon": 2.0, "dp.trust": "distributed", "dp.noise": "simulation", "secure.dropout": 0.4,
    "secure.server": "semi_honest",
    "method": "popularity"}
PLAIN: dict[str, Any] = {**MASKED, "aggregation": "plain", "dp.trust": "central"}
Lie = Callable[[dict[str, Any]], object]


def lying(stage: str, lie: Lie) -> Callable[[str, int, bytes], bytes]:
    """What one node answers at a stage is made from its honest answer."""
    def after(kind: str, node: int, body: bytes) -> bytes:
        if (kind, node) != (stage, LIAR):
            return body
        told = lie(decode(body, KINDS))
        return told if isinstance(told, bytes) else encode(told)

    return after


def played(settled: Settle, stage: str, lie: Lie, flags: dict[str, Any] = MASKED) -> list[str]:
    """A run with that lie: it must release the exact sum of the others."""
    config, out, loop = settled(flags)
    loop.after = lying(stage, lie)
    hub = app.play(loop, out, out / "deploy")
    assert torch.equal(released(out)["item_counts"], exact(config, HONEST)["item_counts"])
    return hub.log[0].stayed_out


@pytest.mark.parametrize("lie", [
    lambda a: {**a, "ids": np.arange(36)},
    pytest.param(lambda a: {**a, "ids": np.arange(36), "proofs": a["proofs"] * 3},
                 marks=pytest.mark.slow),
    pytest.param(lambda a: {**a, "ids": np.array([13])}, marks=pytest.mark.slow),
], ids=["all", "all with proofs", "another's"])
def test_a_node_that_claims_users_whose_keys_it_has_not_is_left_out(
    settled: Settle, lie: Lie
) -> None:
    assert any("node 0 is left out: it claims client" in why
               for why in played(settled, transport.PREPARE, lie))


def bad_types(answer: dict[str, Any]) -> bytes:
    """A dataclass whose fields are a number, where they were asked for their names."""
    return bytes(msgpack.packb(["map", [
        *[[name, ["list"]] for name in answer if name != "masked"],
        ["masked", ["list", ["data", "Message", 3]]]]]))


@pytest.mark.parametrize(("stage", "lie"), [
    (transport.UPLOAD, bad_types),
    pytest.param(transport.UPLOAD, lambda a: {**a, "masked": [m.body for m in a["masked"]]},
                 marks=pytest.mark.slow),
    pytest.param(transport.SHARE, lambda a: {**a, "shares": [1, None, "x"]},
                 marks=pytest.mark.slow),
    pytest.param(transport.PREPARE, lambda a: {**a, "ids": np.array([[0.5]])},
                 marks=pytest.mark.slow),
], ids=["fields", "round", "shares", "ids"])
def test_values_of_other_types_are_refused_and_the_run_goes_on(
    settled: Settle, stage: str, lie: Lie
) -> None:
    assert any(why.startswith(f"node 0, {stage}: ") for why in played(settled, stage, lie))


def test_twenty_megabytes_are_refused_before_they_are_decoded(settled: Settle) -> None:
    why = played(settled, transport.UPLOAD, lambda a: small_values(20 * 2**20))
    assert any("bytes, and at most" in sentence for sentence in why)


def small_values(size: int) -> bytes:
    """Lists within lists, each of them a hundred times its bytes once it is decoded."""
    count = size // 7
    return b"\xdd" + count.to_bytes(4, "big") + b"\x92\xa4list\xc0" * count


@dataclass
class Carried:
    """A transport that brings one body from each node."""

    bodies: Mapping[int, bytes]

    def nodes(self) -> list[int]:
        return list(self.bodies)

    def exchange(self, kind: str, bodies: Mapping[int, bytes]) -> dict[int, bytes]:
        return dict(self.bodies)


@pytest.mark.parametrize("body", [
    small_values(2 * 2**20), b"\x91" * 2**20, b"\xdd\x00\x0f\xff\xff" * 2**18, b"\x90" * 2**21,
    bytes(msgpack.packb(["map", [["ids", ["array", "uint8", [2**21], bytes(2**21)]]]])),
], ids=["lists", "deep", "claims", "trailing", "array"])
def test_what_is_held_of_a_body_is_a_small_multiple_of_it(body: bytes) -> None:
    """Twenty megabytes once took 774 to decode."""
    mailbox = Mailbox(Carried({0: body}), (Message,), 36)
    mailbox.caps = replace(mailbox.caps, holder=True)  # whose context makes the cap larger
    mailbox.log.append(RoundLog(0))
    tracemalloc.start()
    assert mailbox.exchange(transport.PREPARE, {0: {}}) == {}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(body) + 2**21
    assert mailbox.log[0].stayed_out


def test_nobody_else_is_the_key_holder(settled: Settle) -> None:
    """A node has the holder's signed context, and may repeat it; it has not the holder's key."""
    _, out, loop = settled({**MASKED, "method": "group_statistics",
                                 "group_statistics": "encrypted", "statistics.groups": 3})
    party, holder = Party.read(loop.folders[LIAR]), Party.read(loop.folders[-1])
    context = holder.holder()._side.publish()

    def after(kind: str, node: int, body: bytes) -> bytes:
        if (kind, node) != (transport.PREPARE, LIAR):
            return body
        told = proofs(party.known.run, challenge(), [(-2, party.identities[0])])
        return encode({"context": context, "proofs": told})

    loop.after = after
    app.play(loop, out, out / "deploy")
    # In that form it shows no part of the beacon either, which is drawn without it.
    entry = FileJournal(out / "deploy").get()
    assert entry is not None and entry.parts.keys() == {"shard-1", "shard-2"}
    assert {status for _, status in entries(out)} == {"released"}
    log = (out / "deploy" / "exchanges.json").read_text(encoding="utf-8")
    assert "node 0 is left out: it claims client -2" in log


def test_what_a_plain_node_sends_beyond_the_clip_is_clipped(tmp_path: Path) -> None:
    """1e30 in one value was the sum; now it is what one client may add."""
    def huge(answer: dict[str, Any]) -> dict[str, Any]:
        for _, parts in answer["plain"]:
            for part in parts.values():
                part.held()[0, 0] = 1e30
        return answer

    found = {}
    for name, lie in (("honest", lambda a: a), ("huge", huge)):
        config, out, loop = settle(PLAIN, tmp_path / name)
        loop.after = lying(transport.UPLOAD, lie)
        app.play(loop, out, out / "deploy")
        found[name] = released(out)["item_counts"].double()
        assert config.dp is not None and config.dp.clip_norm is not None
        clip = config.dp.clip_norm
    # The noise of both runs is the same; one client of norm C went, and another of norm C came.
    assert 0 < float((found["huge"] - found["honest"]).norm()) <= 2 * clip


def test_a_claim_fits_one_meeting_of_one_run(settled: Settle) -> None:
    _, _, loop = settled(MASKED)
    party = Party.read(loop.folders[1])
    run, keys, told = party.known.run, party.known.keys, challenge()
    parties = list(party.identities.items())
    numbers, given = [n for n, _ in parties], proofs(run, told, parties)
    check_claim(run, told, numbers, given, keys)
    for bad in ((run, challenge(), numbers, given), (bytes(16), told, numbers, given),
                (run, told, numbers[1:], given[:-1]), (run, told, numbers[::-1], given[::-1]),
                (run, told, numbers, given[:-1]), (run, told, [-2], given[:1]),
                (run, told, [numbers[0]] * 2, given[:1] * 2)):
        with pytest.raises(ProtocolError):
            check_claim(*bad, keys)
