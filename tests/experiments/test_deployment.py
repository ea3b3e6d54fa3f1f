"""Real deployments on loopback: SuperLink, three SuperNodes, key holder, TLS, node keys."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.deployment import local
from experiments.deployment.certificates import make_node_key
from experiments.deployment.journal import FileJournal
from experiments.deployment.processes import free_ports
from privacy.aggregation.masked import Await
from privacy.aggregation.masked.server_state import ServerState
from privacy.aggregation.messages import Message
from privfedmm.base.errors import ABORTED, INTERRUPTED, UserError
from privfedmm.config import resolve
from privfedmm.federation.codec import decode
from privfedmm.runs import run as runs
from privfedmm.runs.shape import DEPLOY
from tests.deployments import (
    NODES,
    ONE,
    PATIENCE,
    TWO,
    exact,
    keys,
    left_over,
    released,
    same_model,
)
from tests.ledgers import charges
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


class Intruder:
    """Starts a SuperNode with the folder of a true one and a key that nobody registered."""

    def __init__(self) -> None:
        self.folder: Path | None = None

    def __call__(self, deployment: local.Deployment) -> None:
        if self.folder is not None:
            return
        root = deployment.folder.absolute() / DEPLOY
        self.folder = root / "intruder"
        shutil.copytree(root / "shard-0", self.folder)
        (self.folder / "state.bin").unlink(missing_ok=True)
        make_node_key(self.folder / "node.key")
        deployment.processes.start("intruder", local.node_command(
            root, "intruder", deployment.port, free_ports(1)[0]))


def test_a_real_deployment_is_the_simulators_run(tmp_path: Path) -> None:
    config, out = resolve(None, TWO), tmp_path / "deployed"
    ours = runs.start(config, tmp_path / "simulated", lambda row: None)
    rows: list[dict[str, Any]] = []
    intruder = Intruder()
    theirs = local.start(config, out, local.Shape(NODES, PATIENCE), rows.append, hook=intruder)
    assert left_over(out) == []
    for name, total in released(tmp_path / "simulated").items():
        assert torch.equal(released(out)[name], total), name
    same_model(tmp_path / "simulated", out)
    assert keys(theirs) == keys(ours)
    assert theirs["metrics"] == ours["metrics"]
    assert theirs["privacy"]["epsilon_spent"] == ours["privacy"]["epsilon_spent"]
    assert theirs["federation"]["backend"] == "flower"
    assert theirs["federation"]["exchanges"] == 17  # 2 to begin, 4 x 3 and 2 for sums, 1 for ranks
    assert [row["round"] for row in rows] == [1, 2, 3, 4, 5]
    log = json.loads((out / "deploy" / "exchanges.json").read_text(encoding="utf-8"))
    assert [row["nodes"] for row in log if row["nodes"]] == [NODES] * 5
    # The stranger was turned away at the door: no message of the run ever reached it.
    assert intruder.folder is not None
    assert not (intruder.folder / "state.bin").exists()
    said = (out / "deploy" / "logs" / "intruder.log").read_text(encoding="utf-8")
    assert "Receiving" not in said


def when_shared(shard: int, act: Callable[[local.Deployment], None]) -> local.Hook:
    """Acts once a node has sealed its shares: the round is set up, nothing is uploaded."""
    seen: set[int] = set()
    done: list[bool] = []

    def hook(deployment: local.Deployment) -> None:
        state = deployment.folder / DEPLOY / f"shard-{shard}" / "state.bin"
        if state.exists():
            seen.add(state.stat().st_mtime_ns)
        if len(seen) >= 2 and not done:
            done.append(True)
            act(deployment)

    return hook


def when_asked_to_upload(shard: int, act: Callable[[local.Deployment], None]) -> local.Hook:
    """Acts once a node has been asked for its upload, which takes it some seconds.

    Between its messages: of a node that is killed while it sends one Flower expects the rest for
    three minutes.
    """
    before: list[int] = []

    def hook(deployment: local.Deployment) -> None:
        log = deployment.folder / DEPLOY / "logs" / f"shard-{shard}.log"
        asked = log.read_bytes().count(b"Receiving: query.upload")
        if not before:
            before.append(asked)
        elif asked > before[0]:
            before[0] = asked
            act(deployment)

    return hook


def kill_server_app(deployment: local.Deployment) -> None:
    for pid, command in deployment.processes.commands().items():
        if "flwr-serverapp" in command:
            os.kill(pid, signal.SIGKILL)


def kill_last_node(deployment: local.Deployment) -> None:
    os.killpg(deployment.pids[f"shard-{NODES - 1}"], signal.SIGKILL)


def when_shares_are_asked_for(act: Callable[[local.Deployment], None]) -> local.Hook:
    """Acts once the survivors have signed, and are asked for what opens their sum."""
    done: list[bool] = []

    def hook(deployment: local.Deployment) -> None:
        entry = FileJournal(deployment.folder / DEPLOY).get()
        if done or entry is None or not entry.opening:
            return
        saved = decode(entry.opening, (Message,))["masked"]
        if ServerState.from_bytes(saved).awaits == Await.UNMASK:
            done.append(True)
            act(deployment)

    return hook


def test_a_server_killed_twice_goes_on_and_a_killed_node_is_left_out(tmp_path: Path) -> None:
    """Once before anything is uploaded, which is done anew, and once while the sum opens, which is
    finished; in between a node dies."""
    # Nodes that had uploaded before the server was killed pay for two attempts.
    config, out = resolve(None, {**ONE, "dp.spare_rounds": 1}), tmp_path / "deployed"
    with pytest.raises(UserError, match="deploy local --resume") as caught:
        local.start(config, out, local.Shape(NODES, PATIENCE), lambda row: None,
                    hook=when_shared(0, kill_server_app))
    assert caught.value.code == ABORTED
    assert left_over(out) == []
    assert not (out / "release.pt").exists()
    # Killed before it asked for uploads, the attempt keeps its number; after that it is the next.
    begun = json.loads((out / "deploy" / "journal.json").read_text(encoding="utf-8"))
    hooks = (when_asked_to_upload(NODES - 1, kill_last_node),
             when_shares_are_asked_for(kill_server_app))

    def both(deployment: local.Deployment) -> None:
        for hook in hooks:
            hook(deployment)

    with pytest.raises(UserError, match="deploy local --resume"):
        local.resume(out, lambda row: None, hook=both)
    assert left_over(out) == []
    assert not (out / "release.pt").exists()
    assert len(list((out / "deploy").glob("opening-*"))) == 1
    local.resume(out, lambda row: None)
    assert left_over(out) == []
    assert [(row["round"], row["status"]) for row in charges(out)] == [(0, "released")]
    # That attempt's sum and its noise, without the node that is back: nobody trained again.
    expected = exact(config, np.arange(24), int(begun["asked"]))
    assert torch.equal(released(out)["item_counts"], expected["item_counts"])
    assert not list((out / "deploy").glob("opening-*"))


def test_ctrl_c_ends_every_process_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "deployed"
    root = Path(__file__).parents[2]
    command = [
        sys.executable, "-m", "experiments", "deploy", "local", "--dataset", "planted:36",
        "--method", "popularity", "--aggregation", "masked", "--dp-epsilon", "2.0", "--trust",
        "distributed", "--out", str(out)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root,
        # A shell starts background jobs with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as running:
        wait_until(lambda: len(left_over(out)) > 1, lambda: running.poll() is None, 0.3)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
    assert running.returncode == INTERRUPTED
    assert f"deploy local --resume {out}" in said
    assert left_over(out) == []
