"""What a round of a real deployment costs, over numbers of nodes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from experiments.deployment import app, local
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.federation import transport
from privfedmm.runs.shape import DEPLOY

_WAIT = 300.0
# Masked, a released table a round: every round is alike.
_FLAGS: dict[str, Any] = {
    "method": "backbone", "rounds": 3, "aggregation": "masked", "dp.epsilon": 8.0,
    "dp.trust": "distributed", "dp.subspace_rank": 0, "baselines": ["popularity"]}


def bench(sizes: list[int], users: int, out: Path) -> dict[str, Any]:
    """Play deployments of each number of nodes, one after another, and return their figures.

    Raises UserError.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"--out: {out} exists and is not empty; name another folder")
    return {"users": users, "nodes": [_one(nodes, users, out / str(nodes)) for nodes in sizes]}


def _one(nodes: int, users: int, out: Path) -> dict[str, Any]:
    config = resolve(None, {"dataset": f"planted:{users}", **_FLAGS})
    started = time.perf_counter()
    local.start(config, out, local.Shape(nodes, _WAIT), lambda row: None)
    whole = time.perf_counter() - started
    logs = json.loads((out / DEPLOY / app.EXCHANGES).read_text(encoding="utf-8"))
    rounds = [log for log in logs if log["nodes"]]
    last = rounds[-1]  # neither set-up nor keys of a next round
    steady = rounds[1]  # keys ready at its start, and those of the next round with it
    waited = steady["seconds"]
    return {
        "nodes": nodes,
        "seconds_whole": whole,
        "seconds_setup_round": rounds[0]["seconds"],
        "seconds_round": waited,
        "seconds_exchange": waited / steady["exchanges"],
        "exchanges": steady["exchanges"],
        "of_it_training": steady["training"],
        "of_it_protocol_on_nodes": steady["protocol"],
        "of_it_latency": waited - steady["training"] - steady["protocol"],
        "bytes_up_round": steady["bytes_up"],
        "bytes_down_round": steady["bytes_down"],
        "bytes_up_last_round": last["bytes_up"],
        "stages": [transport.UPLOAD, transport.SIGN, transport.UNMASK],
    }
