"""A client that deals, or reveals, shares that are not those of its secrets."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.deployment import app
from experiments.deployment.books import books
from experiments.deployment.journal import FileJournal
from privacy.aggregation.masked import MaskedServer, Tolerance, client, codec
from privacy.aggregation.messages import pack, unpack
from privacy.crypto import Directory
from privacy.crypto.shamir import SHARE_BYTES, split
from privacy.errors import CheatFound, ProtocolError
from privacy.owners import Owners
from privfedmm.base.errors import ABORTED, UserError
from tests.adversary.parties import Field
from tests.deployments import ONE
from tests.federation.conftest import settle
from tests.ledgers import charges

CHEAT = 7
TOLERANCE = Tolerance(0.2, Owners(share=0.1), failure_bits=10)


def dealing(cheat: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cheat deals random numbers, each with its right hash, so that no neighbour notices."""
    dealt = client.MaskedClient.share

    def share(self, message):  # type: ignore[no-untyped-def]
        def random(secrets, count, threshold):  # type: ignore[no-untyped-def]
            return [bytes(1) + os.urandom(SHARE_BYTES - 1) + bytes(1) +
                    os.urandom(SHARE_BYTES - 1) for _ in range(count)]

        monkeypatch.setattr(client, "split", random if self.number == cheat else split)
        return dealt(self, message)

    monkeypatch.setattr(client.MaskedClient, "share", share)


def test_who_deals_wrong_shares_is_named_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The round is lost, once; the next attempt does without the cheat, and opens."""
    field = Field.of(TOLERANCE, 30)
    dealing(CHEAT, monkeypatch)
    field.to_masked()
    with pytest.raises(CheatFound, match=f"dealt by client {CHEAT} do not give") as found:
        field.open_honestly()
    assert found.value.clients == {CHEAT}
    again = Field.of(TOLERANCE, 30)
    del again.clients[CHEAT]
    total = again.to_masked().open_honestly()
    assert (total == sum(v for n, v in again.vectors.items() if n != CHEAT)).all()


def test_who_deals_wrong_shares_and_drops_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Field.of(TOLERANCE, 30)
    dealing(CHEAT, monkeypatch)
    played = field.clients[CHEAT]
    monkeypatch.setattr(played, "mask", lambda vector: None)
    for one in field.clients.values():
        field.server.receive(one.advertise())
    for message in field.server.route_adverts():
        field.server.receive(field.clients[message.receiver].share(message))
    for message in field.server.route_shares():
        field.clients[message.receiver].receive_shares(message)
    for number, one in field.clients.items():
        if number != CHEAT:
            field.server.receive(one.mask(field.vectors[number]))
    for message in field.server.announce_survivors():
        field.server.receive(field.clients[message.receiver].sign(message))
    for message in field.server.route_signatures():
        field.server.receive(field.clients[message.receiver].unmask(message))
    with pytest.raises(CheatFound) as found:
        field.server.finish()
    assert found.value.clients == {CHEAT}


@pytest.mark.parametrize("cheats", [1, 4])
def test_who_reveals_wrong_shares_is_named_and_the_round_goes_on(cheats: int) -> None:
    """Before, the innocent client whose secret did not come out was blamed, and the round lost."""
    field = Field.of(TOLERANCE, 30).to_masked()
    for message in field.server.announce_survivors():
        field.server.receive(field.clients[message.receiver].sign(message))
    named = []
    for message in field.server.route_signatures():
        answer = field.clients[message.receiver].unmask(message)
        if message.receiver < cheats:
            values = unpack(answer.body, {"shares": bytes, "without": bytes})
            values["shares"] = os.urandom(len(values["shares"]))
            answer = replace(answer, body=pack(values))
            with pytest.raises(ProtocolError, match=f"client {message.receiver} reveals a share"):
                field.server.receive(answer)
            named.append(message.receiver)
        else:
            field.server.receive(answer)
    opened = field.server.finish()
    assert named == list(range(cheats))
    assert (opened.total == sum(field.vectors.values())).all()


def test_a_neighbour_that_deals_garbage_takes_nobody_with_it(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares that do not open: before, each neighbour refused the round and was out of it."""
    field = Field.of(TOLERANCE, 30)
    server = MaskedServer(field.terms, Directory.of(
        one._identity for one in field.clients.values()))
    for one in field.clients.values():
        server.receive(one.advertise())
    for message in server.route_adverts():
        answer = field.clients[message.receiver].share(message)
        if message.receiver == CHEAT:
            sealed = codec.sealed_from_bytes(unpack(answer.body, {"sealed": bytes})["sealed"])
            spoilt = [one._replace(pair=os.urandom(len(one.pair))) for one in sealed.values()]
            answer = replace(answer, body=pack({"sealed": codec.sealed_to_bytes(spoilt)}))
        server.receive(answer)
    ready = 0
    for message in server.route_shares():
        field.clients[message.receiver].receive_shares(message)
        ready += 1
    assert ready == 30
    for number, one in field.clients.items():
        server.receive(one.mask(np.asarray(field.vectors[number])))
    for message in server.announce_survivors():
        server.receive(field.clients[message.receiver].sign(message))
    for message in server.route_signatures():
        server.receive(field.clients[message.receiver].unmask(message))
    with pytest.raises(CheatFound) as found:
        server.finish()
    assert found.value.clients == {CHEAT}


def test_a_deployment_goes_on_without_the_cheat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs the run one round, which a spare one makes up for; and it is named, and stays out
    after a restart. Before, every round was aborted, and charged, until the budget was gone."""
    flags = {**ONE, "method": "backbone", "rounds": 2, "dp.spare_rounds": 1, "dp.subspace_rank": 0,
             "dp.noise": "csprng"}
    config, out, loop = settle(flags, tmp_path / "run")
    dealing(CHEAT, monkeypatch)
    app.play(loop, out, out / "deploy")
    assert [(r["round"], r["status"]) for r in charges(out)] == [
        (0, "aborted"), (1, "released"), (2, "released")]
    journal = FileJournal(out / "deploy").get()
    assert journal is not None and journal.cheats == {CHEAT}
    log = (out / "deploy" / "exchanges.json").read_text(encoding="utf-8")
    assert f"client {CHEAT} dealt wrong shares before, and stays out" in log
    played = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert [row["survivors"] for row in played] == [35, 35]
    # Nobody has spent more than promised, by the books of the nodes.
    assert max(run["epsilon_spent"] for run in books([out / "deploy"])["runs"]) <= 2.0 + 1e-6
    audited = [row["round"] for row in played]
    assert audited == [2, 3] and config.rounds == 2


def test_without_a_spare_round_a_cheat_ends_the_run_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, loop = settle({**ONE, "method": "popularity"}, tmp_path / "run")
    dealing(CHEAT, monkeypatch)
    with pytest.raises(UserError, match=f"dealt by client {CHEAT} do not give") as caught:
        app.play(loop, out, out / "deploy")
    assert caught.value.code == ABORTED and "stay out of the run" in str(caught.value)
