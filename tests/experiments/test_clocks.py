"""A deployment with clocks apart: a node takes part or is left out, and the sum is exact."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.deployment import local
from privfedmm.config import resolve
from tests.deployments import NODES, ONE, exact, left_over, released

COMPILER = shutil.which("cc")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None or sys.platform != "linux",
                       reason="shifting one process's clock needs Linux and a C compiler (cc)")]


@pytest.fixture
def shifted(tmp_path: Path) -> Path:
    """A library that shifts the wall clock of the process that preloads it."""
    library = tmp_path / "wall_clock.so"
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(library),
                    str(Path(__file__).with_name("wall_clock.c"))], check=True)
    return library


@dataclass
class Watch:
    """Remembers which processes ended before the deployment did."""

    ended: set[str] = field(default_factory=set)

    def __call__(self, deployment: local.Deployment) -> None:
        self.ended |= set(deployment.processes.ended())


def test_a_clock_behind_takes_part_and_one_ahead_is_left_out(
    tmp_path: Path, shifted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, seconds = local.node_command, {"shard-1": -60, "shard-2": 60}

    def skewed(root: Path, name: str, port: int, own: int) -> list[str]:
        return ["env", f"CLOCK_SHIFT={seconds.get(name, 0)}", f"LD_PRELOAD={shifted}",
                *plain(root, name, port, own)]

    monkeypatch.setattr(local, "node_command", skewed)
    config, out, watch = resolve(None, ONE), tmp_path / "deployed", Watch()
    # So long the server waits for the third node, which never comes: the beacon is drawn from the
    # parts of the others.
    local.start(config, out, local.Shape(NODES, 120.0), lambda row: None, hook=watch)
    assert left_over(out) == []
    assert torch.equal(
        released(out)["item_counts"], exact(config, np.arange(24), 0)["item_counts"])
    # Flower answers a node whose clock is ahead with 401, and the node ends.
    assert "shard-2" in watch.ended
    assert "shard-1" not in watch.ended
    said = (out / "deploy" / "logs" / "superlink.log").read_text(encoding="utf-8")
    assert 'activate-node HTTP/1.1" 401' in said
