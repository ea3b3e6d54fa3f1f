"""A folder of real runs on the built-in data, with everything that a report can have a part for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from privfedmm.audit.audit_run import Options, audit_run
from privfedmm.audit.compare import compare
from privfedmm.config import resolve
from privfedmm.runs import run as runs

_BASE: dict[str, Any] = {"dataset": "planted:40", "baselines": ["random", "popularity"],
                         "algorithm.model.dim": 8, "rounds": 2}
EPSILONS = (1.0, 4.0, 16.0)


def make(folder: Path) -> None:
    """Two models with two seeds each, two curves of three budgets, one masked run, one audited run,
    and a comparison of two ways of summing."""
    for label, flags in {"whole <b>": {"method": "gfmfr"}, "bare": {"method": "backbone"}}.items():
        for seed in (0, 1):
            _run(folder / label.split()[0] / f"seed{seed}", label=label, seed=seed, **flags)
    for series, method in {"taste": "taste", "profile": "popularity_profile"}.items():
        for epsilon in EPSILONS:
            _run(folder / f"{series}{epsilon:g}", label=f"{series}, epsilon {epsilon:g}",
                 series=series, method=method,
                 **{"dp.epsilon": epsilon, "dp.noise": "simulation"})
    _run(folder / "masked", label="masked", method="backbone", aggregation="masked")
    audited = folder / "audited"
    _run(audited, label="audited", method="backbone",
         **{"dp.epsilon": 2.0, "dp.noise": "simulation"})
    audit_run(audited, Options(canaries=50, quick=True, seed=1), lambda text: None)
    compare(resolve(None, {**_BASE, "aggregation": "masked", "baselines": [], "rounds": 1,
                           "method": "backbone"}),
            ["plain", "masked"], [0.0], folder / "ways", lambda text: None)


def _run(folder: Path, **flags: Any) -> None:
    runs.start(resolve(None, {**_BASE, **flags}), folder, lambda row: None)
