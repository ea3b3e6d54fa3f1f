"""A deployment with clocks apart: a node takes part or is left out, and the sum is exact."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import run as runs
from experiments.config import resolve
from experiments.deployment import local
from experiments.deployment.processes import free_ports
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
class Skewed:
    """Puts SuperNodes with other clocks in the place of some, before any message."""

    library: Path
    seconds: Mapping[str, int]
    ended: set[str] = field(default_factory=set)
    _begun: bool = False

    def __call__(self, deployment: local.Deployment) -> None:
        self.ended |= set(deployment.processes.ended())
        if self._begun:
            return
        self._begun = True
        root = deployment.folder.absolute() / runs.DEPLOY
        for name, seconds in self.seconds.items():
            os.killpg(deployment.pids[name], signal.SIGKILL)
            deployment.processes.start(f"{name}-skewed", [
                "env", f"CLOCK_SHIFT={seconds}", f"LD_PRELOAD={self.library}",
                *local.node_command(root, name, deployment.port, free_ports(1)[0])])


def test_a_clock_behind_takes_part_and_one_ahead_is_left_out(
    tmp_path: Path, shifted: Path
) -> None:
    config, out = resolve(None, ONE), tmp_path / "deployed"
    skewed = Skewed(shifted, {"shard-1": -60, "shard-2": 60})
    local.start(config, out, local.Shape(NODES, 50.0), lambda row: None, hook=skewed)
    assert left_over(out) == []
    assert torch.equal(
        released(out)["item_counts"], exact(config, np.arange(24), 0)["item_counts"])
    # Flower answers a node whose clock is ahead with 401, and the node ends.
    assert "shard-2-skewed" in skewed.ended
    assert "shard-1-skewed" not in skewed.ended
    said = (out / "deploy" / "logs" / "superlink.log").read_text(encoding="utf-8")
    assert 'activate-node HTTP/1.1" 401' in said
