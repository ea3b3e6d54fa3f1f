"""What a deployment in this process has left behind, and what it ought to have released."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from experiments import run as runs
from experiments.config import RunConfig
from experiments.session import Session
from privacy import RingAggregator

NODES = 3


class Looped(Protocol):
    """The loop of conftest.py."""

    folders: list[Path]
    log: list[tuple[str, int]]
    before: Callable[[str, int, bytes], bytes | None]
    after: Callable[[str, int, bytes], bytes | None]


class Killed(Exception):
    """The server's process ends here."""


def released(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "release.pt", weights_only=True)["sums"]


def entries(folder: Path) -> list[tuple[int, str]]:
    rows = json.loads((folder / "ledger.json").read_text(encoding="utf-8"))
    return [(row["round"], row["status"]) for row in rows]


def exact(
    config: RunConfig, alive: np.ndarray, attempt: int = 0
) -> dict[str, torch.Tensor]:
    """What round 0 must release if these clients' uploads are in the sum, by the ring alone."""
    data = runs.load_data(config)
    session = Session.start(config, data)
    plan = session.algorithm.plan(session.state)
    gate = replace(session.stack, aggregator=RingAggregator()).open(
        session.stack.draw(data.num_users, 0), b"", attempt)
    for ids in session.algorithm.blocks(alive):
        gate.submit(ids, session.algorithm.local(plan, ids, session.clients)[0])
    assert session.stack.mechanism is not None
    return session.stack.mechanism.on_sum(gate.close().sums, session.stack.source, 0)


def everybody() -> np.ndarray:
    return np.arange(36)
