"""The deployment's server and nodes over real messages, in this process: equal to the simulator,
exact under dropouts, and nothing released twice over restarts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.deployment import app, parties
from experiments.deployment.parties import Party
from experiments.deployment.settle_local import settle_all
from privfedmm.base.errors import ABORTED, UserError
from privfedmm.config import RunConfig, resolve, to_toml
from privfedmm.federation import transport
from privfedmm.federation.codec import decode, encode
from privfedmm.mechanisms.aggregators import AGGREGATORS
from privfedmm.runs import run as runs
from privfedmm.runs.record import Carried
from privfedmm.runs.session import Session
from tests.commands import cli
from tests.deployments import NODES, exact, keys, released, same_model
from tests.federation.outcomes import Killed, Looped, entries, everybody
from tests.ledgers import links

Settle = Callable[[dict[str, Any]], tuple[RunConfig, Path, Looped]]
BASE: dict[str, Any] = {
    "dataset": "planted:36", "seed": 5, "baselines": ["popularity"], "aggregation": "masked",
    "dp.epsilon": 2.0, "dp.trust": "distributed", "dp.noise": "simulation", "secure.dropout": 0.4,
    "secure.server": "semi_honest"}
ONE = {**BASE, "method": "popularity"}
TWO = {**BASE, "group_statistics": "encrypted", "statistics.groups": 3, "mix.on": False}
MASKED_TWICE = {**BASE, "statistics.groups": 3}
THRICE = {**TWO, "statistics.association_rank": 8}
TRAINED = {**BASE, "method": "gfmfr", "rounds": 3, "algorithm.opening.on": False}
# Released first, trained against what that tells, weighed last, with another noise in each stage.
OPENED = {**BASE, "method": "gfmfr", "algorithm.opening.training_rounds": 1, "dp.delta": 1e-3}
# Integers on a grid, of which the server reads some, and clips what it reads.
DIVIDED = {**BASE, "dp.trust": "central", "aggregation": "plain", "method": "group_statistics",
           "group_statistics": "masked", "statistics.groups": 3}


def lose(stage: str, node: int) -> Callable[[str, int, bytes], bytes | None]:
    return lambda kind, to, body: None if (kind, to) == (stage, node) else body


@pytest.mark.parametrize("flags", [
    TWO, pytest.param(MASKED_TWICE, marks=pytest.mark.slow),
    pytest.param(THRICE, marks=pytest.mark.slow), TRAINED, OPENED, DIVIDED,
], ids=["encrypted", "masked", "associations", "trained", "opened", "divided"])
def test_released_integers_and_record_are_the_simulators(
    settled: Settle, tmp_path: Path, flags: dict[str, Any]
) -> None:
    config, out, loop = settled(flags)
    ours = runs.start(config, tmp_path / "simulated", lambda row: None)
    hub = app.play(loop, out, out / "deploy")
    for name, total in released(tmp_path / "simulated").items():
        assert torch.equal(released(out)[name], total), name
    same_model(tmp_path / "simulated", out)
    data = runs.load_data(config)
    session = Session.start(config, data, out)
    session.restore(out, data.sha256)
    theirs = runs.conclude(session, data, out, Carried("flower", NODES, 0, "loop", ("ranks",)))
    assert keys(ours) == keys(theirs)
    assert theirs["metrics"] == ours["metrics"]
    assert theirs["privacy"]["epsilon_spent"] == ours["privacy"]["epsilon_spent"]
    assert theirs["groups"] == ours["groups"]
    # Keys of the next round travel with this one: three exchanges once a run is under way.
    made = [log.exchanges for log in hub.log if log.nodes]
    last = 2 if flags.get("group_statistics") == "encrypted" else 3
    assert flags is DIVIDED or made == [5, *[3] * (len(made) - 2), last]
    assert not [reason for log in hub.log for reason in log.stayed_out]


def test_a_node_lost_before_its_upload_leaves_the_exact_sum_of_the_others(settled: Settle) -> None:
    config, out, loop = settled(ONE)
    loop.before = lose(transport.UPLOAD, 2)
    hub = app.play(loop, out, out / "deploy")
    assert torch.equal(released(out)["item_counts"], exact(config, np.arange(24))["item_counts"])
    assert "node 2 did not answer upload" in hub.log[0].stayed_out


@pytest.mark.parametrize("stage", [transport.SIGN, transport.UNMASK])
def test_a_node_lost_after_its_upload_is_still_in_the_sum(settled: Settle, stage: str) -> None:
    config, out, loop = settled(ONE)
    loop.before = lose(stage, 1)
    app.play(loop, out, out / "deploy")
    assert torch.equal(released(out)["item_counts"], exact(config, everybody())["item_counts"])


def test_too_few_left_end_the_run_with_code_4_and_nothing_released(settled: Settle) -> None:
    _, out, loop = settled(ONE)
    loop.before = lambda kind, node, body: None if kind == transport.UPLOAD and node else body
    with pytest.raises(UserError, match=r"aborted.*privfedmm deploy local --resume") as caught:
        app.play(loop, out, out / "deploy")
    assert caught.value.code == ABORTED
    # Whoever reads the sentence learns who was away.
    assert "node 1 did not answer upload; node 2 did not answer upload" in str(caught.value)
    assert not (out / "release.pt").exists()
    assert entries(out) == [(0, "aborted")]


@pytest.mark.parametrize("damage", [
    lambda body: body[:-40],
    lambda body: b"\xc1" + body,
    lambda body: body.replace(b"masked", b"nasked"),
], ids=["cut", "unreadable", "renamed"])
def test_a_damaged_answer_counts_as_a_dropout(
    settled: Settle, damage: Callable[[bytes], bytes]
) -> None:
    config, out, loop = settled(ONE)
    loop.after = lambda kind, node, body: (
        damage(body) if (kind, node) == (transport.UPLOAD, 0) else body)
    app.play(loop, out, out / "deploy")
    assert torch.equal(released(out)["item_counts"],
                       exact(config, np.arange(12, 36))["item_counts"])


def test_a_node_may_not_speak_for_another_nodes_clients(settled: Settle) -> None:
    config, out, loop = settled(ONE)
    seen: dict[int, bytes] = {}

    def swapped(kind: str, node: int, body: bytes) -> bytes:
        if kind != transport.UPLOAD:
            return body
        seen[node] = body
        return seen[0] if node == 1 else body

    loop.after = swapped
    hub = app.play(loop, out, out / "deploy")
    alive = np.concatenate([np.arange(12), np.arange(24, 36)])
    assert torch.equal(released(out)["item_counts"], exact(config, alive)["item_counts"])
    assert any("does not host" in reason for reason in hub.log[0].stayed_out)


def test_another_version_or_other_settings_stay_out_and_are_named(settled: Settle) -> None:
    _, out, loop = settled(ONE)
    path = loop.folders[2] / "config.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("epsilon = 2.0", "epsilon = 9.0"),
                    encoding="utf-8")
    loop.before = lambda kind, node, body: (
        body.replace(b"0.1.0", b"0.0.9") if (kind, node) == (transport.PREPARE, 1) else body)
    with pytest.raises(UserError) as caught:
        app.play(loop, out, out / "deploy")
    assert caught.value.code == ABORTED
    log = json.loads((out / "deploy" / "exchanges.json").read_text(encoding="utf-8"))[0]
    assert any("version 0.0.9" in reason for reason in log["stayed_out"])
    assert any("settings are not those" in reason for reason in log["stayed_out"])


@pytest.mark.parametrize("stage", [transport.SHARE, transport.UPLOAD])
def test_a_server_killed_before_uploads_are_in_goes_on_and_charges_once(
    settled: Settle, stage: str
) -> None:
    # By their own ledgers devices that had uploaded have paid for two attempts, not one.
    _, out, loop = settled({**ONE, "dp.spare_rounds": 1})
    _killed_at(loop, out, stage)
    loop.before = lambda kind, node, body: body
    app.play(loop, out, out / "deploy")
    assert entries(out) == [(0, "released")]
    # Where uploads were asked for, a second attempt draws anew: none of its noise was in the first.
    journal = json.loads((out / "deploy" / "journal.json").read_text(encoding="utf-8"))
    assert journal["attempt"] == (stage == transport.UPLOAD)


@pytest.mark.parametrize("way", ["plain", "masked"])
def test_a_server_that_nobody_answers_has_spent_nothing(settled: Settle, way: str) -> None:
    """Started before its nodes a few times, it used to charge the whole budget, or to have no
    attempt left."""
    _, out, loop = settled({**ONE, "aggregation": way,
                            "dp.trust": "central" if way == "plain" else "distributed"})
    loop.before = lambda kind, node, body: None
    for _ in range(9):
        with pytest.raises(UserError, match="no node answered"):
            app.play(loop, out, out / "deploy")
    loop.before = lambda kind, node, body: body
    app.play(loop, out, out / "deploy")
    assert entries(out) == [(0, "released")]


def test_a_round_whose_keys_are_not_shared_costs_nothing(settled: Settle) -> None:
    """Keys tell nothing: what ends before uploads are asked for is no attempt."""
    config, out, loop = settled(ONE)
    loop.before = lambda kind, node, body: (
        None if kind == transport.SHARE and node else body)
    with pytest.raises(UserError, match="round 1 was aborted"):
        app.play(loop, out, out / "deploy")
    assert entries(out) == []
    loop.before = lambda kind, node, body: body
    app.play(loop, out, out / "deploy")
    assert torch.equal(released(out)["item_counts"], exact(config, everybody())["item_counts"])


def _killed_at(loop: Looped, out: Path, stage: str) -> None:
    def kill(kind: str, node: int, body: bytes) -> bytes:
        if kind == stage and node == NODES - 1:  # after others had the message
            raise Killed
        return body

    loop.before = kill
    with pytest.raises(Killed):
        app.play(loop, out, out / "deploy")


def test_killed_between_charge_and_checkpoint_the_same_sum_is_handed_out(
    settled: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, loop = settled(TWO)
    save = Session.save

    def killed(self: Session, folder: Path, data_hash: str) -> None:
        if self.state.round == 1:
            raise Killed
        save(self, folder, data_hash)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "save", killed)
        with pytest.raises(Killed):
            app.play(loop, out, out / "deploy")
    kept = released(out)["item_counts"]
    loop.log = []
    app.play(loop, out, out / "deploy")
    checkpoint = torch.load(out / "checkpoint.pt", weights_only=True)
    assert torch.equal(checkpoint["model"]["state"]["counts"], kept[:, 0])
    assert entries(out) == [(0, "released"), (1, "released")]
    # Round 0 was not asked for again.
    assert sum(kind == transport.UPLOAD for kind, _ in loop.log) == NODES


def test_clients_refuse_a_server_that_was_rolled_back(
    settled: Settle, tmp_path: Path
) -> None:
    _, out, loop = settled(MASKED_TWICE)
    app.play(loop, out, out / "deploy")
    rolled = tmp_path / "rolled"
    rolled.mkdir()
    (out / "deploy" / "journal.json").unlink()
    loop.log = []
    with pytest.raises(UserError, match="a replay") as caught:
        app.play(loop, rolled, out / "deploy")
    assert caught.value.code == ABORTED
    assert {kind for kind, _ in loop.log} == {transport.PREPARE}
    assert not (rolled / "release.pt").exists()


def test_a_node_takes_an_upload_request_once(settled: Settle) -> None:
    _, out, loop = settled(ONE)
    asked: list[bytes] = []

    def keep(kind: str, node: int, body: bytes) -> bytes:
        if (kind, node) == (transport.UPLOAD, 0):
            asked.append(body)
        return body

    loop.before = keep
    app.play(loop, out, out / "deploy")
    state = loop.folders[0] / "state.bin"
    before = state.read_bytes()
    answer = Party.read(loop.folders[0]).node(experiment=True).handle(transport.UPLOAD, asked[0])
    assert "came twice" in decode(answer, ())["refused"]
    assert state.read_bytes() == before
    assert state.stat().st_mode & 0o077 == 0


def test_a_node_takes_part_in_no_round_beyond_its_own_config(settled: Settle) -> None:
    config, out, loop = settled(ONE)
    app.play(loop, out, out / "deploy")
    session = Session.start(config, runs.load_data(config))
    plan = replace(session.algorithm.plan(session.state), round=1)
    body = encode({"number": (1, 0), "plan": plan, "sealed": [], "next": None})
    answer = Party.read(loop.folders[0]).node(experiment=True).handle(transport.UPLOAD, body)
    assert "nobody's budget" in decode(answer, ())["refused"]


def test_local_noise_is_uploaded_once_a_round(settled: Settle) -> None:
    flags = {**ONE, "aggregation": "plain", "dp.trust": "local", "secure.dropout": 0.0}
    _, out, loop = settled(flags)
    _killed_at(loop, out, transport.UPLOAD)
    loop.before = lambda kind, node, body: body
    with pytest.raises(UserError) as caught:
        app.play(loop, out, out / "deploy")
    assert caught.value.code == ABORTED
    log = json.loads((out / "deploy" / "exchanges.json").read_text(encoding="utf-8"))[0]
    assert sum("second release" in reason for reason in log["stayed_out"]) == NODES - 1
    assert {status for _, status in entries(out)} == {"aborted"}


def test_a_node_outside_experiments_tells_no_loss_and_no_ranks(settled: Settle) -> None:
    _, out, loop = settled(ONE)
    app.play(loop, out, out / "deploy")
    node = Party.read(loop.folders[0]).node(experiment=False)
    state = encode({"state": None})
    assert "reports no ranks" in decode(node.handle(transport.RANKS, state), ())["refused"]


def test_the_key_holders_silence_aborts(settled: Settle) -> None:
    _, out, loop = settled(TWO)
    holder = len(loop.folders) - 1
    loop.after = lose(transport.SIGN, holder)
    with pytest.raises(UserError, match="key holder released nothing") as caught:
        app.play(loop, out, out / "deploy")
    assert caught.value.code == ABORTED
    assert entries(out) == [(0, "released"), (1, "aborted")]


def test_plain_deployments_give_the_simulators_model(settled: Settle, tmp_path: Path) -> None:
    flags = {"dataset": "planted:36", "seed": 5, "rounds": 2, "baselines": ["popularity"],
             "algorithm.opening.on": False}
    config, out, loop = settled(flags)
    runs.start(config, tmp_path / "simulated", lambda row: None)
    hub = app.play(loop, out, out / "deploy")
    ours, theirs = (torch.load(f / "checkpoint.pt", weights_only=True)["model"]["state"]
                    for f in (tmp_path / "simulated", out))
    torch.testing.assert_close(theirs["items"], ours["items"], rtol=0, atol=1e-5)
    assert [log.exchanges for log in hub.log if log.nodes] == [2, 1]
    assert (tmp_path / "simulated" / "devices").is_dir()
    assert (out / "model.npz").exists() and not (out / "devices").exists()


def test_a_private_deployment_is_bound_and_refuses_another_promise(settled: Settle) -> None:
    _, out, loop = settled(ONE)
    app.play(loop, out, out / "deploy")
    first, *charged = links(out)
    assert first["kind"] == "commitment" and len(charged) == 1 and not (out / "devices").exists()
    config = out / runs.CONFIG
    config.write_text(config.read_text("utf-8").replace("epsilon = 2.0", "epsilon = 9.0"), "utf-8")
    with pytest.raises(UserError, match=r"dp\.epsilon is 9\.0, and the ledger commits to 2\.0"):
        app.play(loop, out, out / "deploy")


def test_run_resume_does_not_continue_a_deployment(settled: Settle) -> None:
    config, out, loop = settled(ONE)
    app.play(loop, out, out / "deploy")
    (out / runs.CONFIG).write_text(to_toml(config), encoding="utf-8")
    with pytest.raises(UserError, match="on nodes"):
        runs.resume(out, lambda row: None)


def test_settings_that_a_deployment_does_not_carry_are_named() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"secure.mode": "ring"}, "secure.mode"),
        ({"secure.simulated_dropout": 0.1}, "simulated_dropout"),
        ({"dp.clipping": "adaptive"}, "dp.clipping"),
        ({"dp.sampling": "poisson", "dp.sampling_rate": 0.5}, "dp.sampling"),
    ]
    for flags, word in refused:
        config = resolve(None, {**ONE, **flags})
        with pytest.raises(UserError, match=word):
            parties.check_carried(config, 36, NODES)
    with pytest.raises(UserError, match="nodes"):
        parties.check_carried(resolve(None, ONE), 36, 37)


@pytest.mark.parametrize(("flag", "sentence"), [
    ("aggregation", "deploy: aggregation: nodes do not speak the protocol of elsewhere; set plain "
     "or masked"),
    ("group_statistics", "deploy: group_statistics: nodes do not speak the protocol of elsewhere; "
     "set plain, masked or encrypted"),
])
def test_a_way_of_summing_that_no_node_speaks_is_refused(
    flag: str, sentence: str, tmp_path: Path
) -> None:
    """A run of somebody else's aggregator is simulated, and never quietly carried by another."""
    entry = AGGREGATORS.register(replace(AGGREGATORS.get("masked"), name="elsewhere"))
    try:
        config = resolve(None, {
            "dataset": "planted:36", "method": "popularity", "baselines": [], flag: entry.name,
            **({"group_statistics": "plain"} if flag == "aggregation" else {})})
        with pytest.raises(UserError) as caught:
            settle_all(config, runs.load_data(config), tmp_path / "deploy", NODES)
        assert str(caught.value) == sentence and not (tmp_path / "deploy").exists()
        option = f"--{flag.replace('_', '-')}"
        done = cli("deploy", "local", "--nodes", "2", "--dataset", "planted:36", option,
                   entry.name, "--out", str(tmp_path / "run"))
        assert (done.returncode, done.stderr) == (2, f"privfedmm: {sentence}\n")
        assert not (tmp_path / "run").exists()
    finally:
        AGGREGATORS.forget(entry.name)
