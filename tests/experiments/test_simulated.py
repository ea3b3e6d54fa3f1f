"""The app under Flower's own simulation, where Ray is installed; what is said where it is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.deployment import simulated, simulated_app
from experiments.deployment.carrier import Deployment, Shape
from experiments.deployment.parties import Party
from experiments.deployment.settle_local import settle_all
from privfedmm.assemble import kinds_of
from privfedmm.base.errors import BAD_INPUT, INTERRUPTED, UserError
from privfedmm.config import resolve
from privfedmm.federation import transport
from privfedmm.federation.codec import decode, encode
from privfedmm.runs import run as runs
from tests.commands import cli
from tests.deployments import NODES, ONE, PATIENCE, TWO, keys, left_over, released
from tests.waiting import wait_until

with_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is absent: pip install 'privfedmm[simulation]'")


def sessions_of(pids: list[int]) -> set[int]:
    """Sessions of processes; Ray's write their titles over the mark in their environment."""
    return {os.getsid(pid) for pid in pids if Path(f"/proc/{pid}").exists()} - {os.getsid(0)}


def living(sessions: set[int]) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended while we looked
            continue
        if state != "Z" and int(session) in sessions:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
@with_ray
def test_flowers_simulation_is_our_simulators_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A cluster that the user has elsewhere gets nothing of this.
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    config, out = resolve(None, TWO), tmp_path / "flower"
    ours = runs.start(config, tmp_path / "ours", lambda row: None)
    rows: list[dict[str, Any]] = []
    sessions: set[int] = set()
    scratch: set[str] = set()

    def look(deployment: Deployment) -> None:
        sessions.update(sessions_of(deployment.processes.survivors()))
        scratch.add(deployment.processes.environment["RAY_TMPDIR"])

    theirs = simulated.start(config, out, Shape(NODES, PATIENCE), rows.append, hook=look)
    assert sessions
    assert living(sessions) == left_over(out) == []
    assert [Path(folder).exists() for folder in scratch] == [False]
    for name, total in released(tmp_path / "ours").items():
        assert torch.equal(released(out)[name], total), name
    assert keys(theirs) == keys(ours)
    assert theirs["metrics"] == ours["metrics"]
    assert theirs["privacy"]["epsilon_spent"] == ours["privacy"]["epsilon_spent"]
    assert theirs["federation"]["backend"] == "flower simulation"
    assert theirs["federation"]["exchanges"] == 17  # 2 to begin, 4 x 3 and 2 for sums, 1 for ranks
    assert "one owner" in theirs["privacy"]["simulation_only"][0]
    assert [row["round"] for row in rows] == [1, 2, 3, 4, 5]


@pytest.mark.slow
@with_ray
def test_ctrl_c_ends_ray_as_well_and_the_run_goes_on(tmp_path: Path) -> None:
    out, root = tmp_path / "flower", Path(__file__).parents[2]
    flags = [part for key, value in {**ONE, "baselines": "[]"}.items()
             for part in ("--set", f"{key}={value}")]
    sessions: set[int] = set()
    with subprocess.Popen(
        [sys.executable, "-m", "experiments", "deploy", "simulated", "--out", str(out), *flags],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as running:
        state = out / "deploy" / "shard-0" / "state.bin"
        wait_until(state.exists, lambda: running.poll() is None)
        sessions = sessions_of(left_over(out))
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
    assert running.returncode == INTERRUPTED
    assert f"deploy simulated --resume {out}" in said
    assert sessions
    assert living(sessions) == left_over(out) == []
    with pytest.raises(UserError, match=f"privfedmm deploy simulated --resume {out}"):
        runs.resume(out, lambda row: None)
    record = simulated.resume(out, lambda row: None)
    assert record["rounds_run"] == 1
    assert left_over(out) == []


def test_without_ray_the_extra_is_named_and_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python's own way to hide a module; where Ray is absent it changes nothing.
    monkeypatch.setitem(sys.modules, "ray", None)
    done = cli("deploy", "simulated", "--dataset", "planted:36", "--out", str(tmp_path / "out"))
    assert done.returncode == BAD_INPUT
    assert "pip install 'privfedmm[simulation]'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("flags", "nodes"), [(ONE, NODES), (TWO, NODES + 1)])
def test_a_simulated_node_answers_from_the_folder_of_its_number(
    tmp_path: Path, flags: dict[str, Any], nodes: int
) -> None:
    config = resolve(None, flags)
    settle_all(config, runs.load_data(config), tmp_path, NODES)
    server = Party.read(tmp_path / "server")
    body = encode({"version": server.greeting.version, "settings": server.greeting.settings,
                   "run": server.agreed.run, "next": None, "challenge": bytes(32)})
    answers = [
        decode(simulated_app.answer(transport.PREPARE, body, {
            "root": str(tmp_path), "partition-id": number, "num-partitions": nodes}),
            kinds_of(config))
        for number in range(nodes)]
    hosted = [answer["ids"].tolist() for answer in answers[:NODES]]
    assert hosted == [list(range(0, 12)), list(range(12, 24)), list(range(24, 36))]
    assert [set(answer) for answer in answers[NODES:]] == [{"context", "proofs"}] * (nodes - NODES)
