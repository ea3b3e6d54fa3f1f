"""What the tests of deployments share: their settings, and what a deployment left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.deployment import local
from experiments.deployment.processes import Processes
from privacy import RingAggregator
from privfedmm.config import RunConfig
from privfedmm.runs import run as runs
from privfedmm.runs.session import Session
from privfedmm.runs.shape import DEPLOY

NODES = 3
# Seconds a node may take for a message. On a machine busy with other things a node's process has
# taken a minute to start; a node that was killed is reported by Flower well before.
PATIENCE = 300.0
ONE: dict[str, Any] = {
    "dataset": "planted:36", "seed": 5, "baselines": ["popularity"], "aggregation": "masked",
    "dp.epsilon": 2.0, "dp.trust": "distributed", "dp.noise": "simulation", "secure.dropout": 0.4,
    "secure.server": "semi_honest", "secure.nodes": [12, 12, 12],
    "method": "popularity"}
TWO: dict[str, Any] = {
    **ONE, "method": "group_statistics", "group_statistics": "encrypted", "statistics.groups": 3,
    "statistics.association_rank": 8}


def left_over(folder: Path) -> list[int]:
    """Processes of the deployment in a folder."""
    mark = (local.MARK, str(folder.absolute() / DEPLOY))
    return Processes(folder, {}, mark).survivors()


def released(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "release.pt", weights_only=True)["sums"]


def keys(value: Any, path: str = "") -> set[str]:
    """The fields of a record; seconds are named by what took them."""
    if not isinstance(value, dict) or path.endswith("costs/seconds"):
        return {path}
    return {path}.union(*(keys(v, f"{path}/{k}") for k, v in value.items()))


def same_model(one: Path, other: Path) -> None:
    """Every tensor of the server's state after the last round, to 1e-5."""
    ours, theirs = (torch.load(folder / "checkpoint.pt", weights_only=True)["model"]["state"]
                    for folder in (one, other))
    assert ours.keys() == theirs.keys()
    tensors = [name for name, value in ours.items() if isinstance(value, torch.Tensor)]
    assert tensors
    for name in tensors:
        torch.testing.assert_close(theirs[name], ours[name], rtol=0, atol=1e-5, msg=name)


def exact(config: RunConfig, alive: np.ndarray, attempt: int = 0) -> dict[str, torch.Tensor]:
    """What round 0 must release if these clients' uploads are in the sum, by the ring alone."""
    data = runs.load_data(config)
    session = Session.start(config, data)
    plan, mechanism = session.algorithm.plan(session.state), session.stack.mechanism
    gate = replace(session.stack, aggregator=RingAggregator()).open(
        session.stack.draw(data.num_users, 0), b"", attempt)
    for ids in session.algorithm.blocks(alive):
        gate.submit(ids, session.algorithm.local(plan, ids, session.clients)[0])
    assert mechanism is not None
    return mechanism.on_sum(gate.close().sums, session.stack.source, 0)
