"""Two nodes whose folders were made by processes of their own, on loopback, by the documented
commands."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import torch

from experiments.deployment.carrier import MARK, Deployment
from experiments.deployment.certificates import CA
from experiments.deployment.directory import fingerprint
from experiments.deployment.processes import Processes, free_ports
from experiments.deployment.serving import serve
from privfedmm.config import resolve
from privfedmm.runs import run as runs
from tests.commands import cli
from tests.deployments import PATIENCE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SETTINGS = (
    "--dataset", "planted:36", "--seed", "5", "--method", "popularity", "--aggregation", "masked",
    "--dp-epsilon", "2.0", "--trust", "distributed", "--noise", "simulation",
    "--set", "secure.dropout=0.4", "--set", "secure.server=semi_honest",
    "--set", 'baselines=["popularity"]')


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "experiments", "deploy", *arguments]


def surroundings() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def node(machine: Path) -> Iterator[None]:
    """A SuperNode as its owner runs it; ended by SIGTERM."""
    with subprocess.Popen(
        command("node", "mine"), cwd=machine, env=surroundings(), stdout=subprocess.DEVNULL
    ) as running:
        try:
            yield
        finally:
            running.terminate()
            code = running.wait()
    assert code == 128 + 15
    assert left_over(machine / "mine") == []


def left_over(folder: Path) -> list[int]:
    return Processes(folder, {}, (MARK, str(folder.absolute()))).survivors()


class Stranger:
    """Asks for the list of runs, as `flwr list` does, where the operator is and where nodes are."""

    def __init__(self, port: int, authority: Path) -> None:
        self._port, self._authority = port, authority
        self.statuses: dict[str, int] = {}

    def __call__(self, deployment: Deployment) -> None:
        if self.statuses:
            return
        trusting = ssl.create_default_context(cafile=str(self._authority))
        for who, port in (("operator", deployment.port), ("network", self._port)):
            self.statuses[who] = httpx.post(
                f"https://127.0.0.1:{port}/v1/control/list-runs", verify=trusting, content=b"",
                headers={"content-type": "application/protobuf"}).status_code


def test_two_machines_by_the_documented_commands_play_the_simulators_run(tmp_path: Path) -> None:
    out = tmp_path / "operator" / "run"
    (port,) = free_ports(1)
    done = cli("deploy", "invite", "--host", f"127.0.0.1:{port}", "--nodes", "2", *SETTINGS,
               "--out", str(out))
    assert done.returncode == 0, done.stderr
    machines = [tmp_path / "a", tmp_path / "b"]
    joining = []
    for number, machine in enumerate(machines):
        machine.mkdir()
        (machine / "invitation.bin").write_bytes((out / "deploy" / "invitation.bin").read_bytes())
        joining.append(subprocess.Popen(
            command("join", "invitation.bin", "--node", str(number), "--out", "mine"),
            cwd=machine, env=surroundings(), stdout=subprocess.DEVNULL))
    assert [one.wait() for one in joining] == [0, 0]
    done = cli("deploy", "settle", str(out), *(str(m / "mine.answer") for m in machines))
    assert done.returncode == 0, done.stderr
    known = out / "deploy" / "known.bin"
    for machine in machines:
        done = cli("deploy", "accept", str(known), "--folder", str(machine / "mine"),
                   "--fingerprint", fingerprint(known.read_bytes()))
        assert done.returncode == 0, done.stderr
    with ExitStack() as running:
        # Before there is a SuperLink: they keep trying.
        for machine in machines:
            running.enter_context(node(machine))
        tried = Stranger(port, out / "deploy" / "tls" / CA)
        found = serve(out, PATIENCE, False, lambda row: None, tried)
    assert left_over(out / "deploy") == []
    # Runs are submitted from the operator's machine alone: they are code that nodes execute.
    assert tried.statuses == {"operator": 200, "network": 404}
    assert found["rounds"] == 1
    assert found["epsilon_spent"] == pytest.approx(2.0, abs=1e-3)
    # Neither node was started as an experiment, and both refused to tell how it went.
    assert found["metrics"] is None
    assert sum("reports no ranks" in reason for reason in found["stayed_out"]) == 2
    assert len(found["stayed_out"]) == 2
    config = resolve(out / "config.toml", {})
    runs.start(config, tmp_path / "simulated", lambda row: None)
    ours, theirs = (torch.load(folder / "release.pt", weights_only=True)["sums"]["item_counts"]
                    for folder in (tmp_path / "simulated", out))
    assert torch.equal(theirs, ours)
    models = [torch.load(folder / "checkpoint.pt", weights_only=True)["model"]["state"]["counts"]
              for folder in (tmp_path / "simulated", out)]
    assert torch.equal(models[1], models[0])
    again = cli("deploy", "serve", str(out))
    assert again.returncode == 2
    assert f"privfedmm deploy serve --resume {out}" in again.stderr
    over = cli("deploy", "serve", str(out), "--resume", "--json")
    assert over.returncode == 0, over.stderr
    assert json.loads(over.stdout) == found
