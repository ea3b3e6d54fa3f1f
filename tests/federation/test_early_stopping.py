"""A deployment stops early where nodes tell how they are served, and only there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.deployment import app
from privfedmm.config import RunConfig, resolve
from privfedmm.runs import run as runs
from tests.federation.outcomes import Looped

Settle = Callable[[dict[str, Any]], tuple[RunConfig, Path, Looped]]
FLAGS: dict[str, Any] = {
    "dataset": "planted:36", "seed": 5, "baselines": [], "method": "backbone", "rounds": 12,
    "evaluation.patience": 1}


@pytest.mark.parametrize("told", [True, False])
def test_patience_acts_where_ranks_are_told(settled: Settle, tmp_path: Path, told: bool) -> None:
    _, out, loop = settled(FLAGS)
    loop.experiment = told
    app.play(loop, out, out / "deploy")
    rows = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    if not told:
        assert len(rows) == 12 and all("validation" not in row for row in rows)
        return
    # The same config, played by the simulator, ends after the same round.
    alone = runs.start(resolve(None, FLAGS), tmp_path / "alone", lambda row: None)
    assert len(rows) == alone["rounds_run"] < 12
    assert [row["best"] for row in rows][-2:] == [True, False]
