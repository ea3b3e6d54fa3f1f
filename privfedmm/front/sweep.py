"""Variants x epsilons x seeds in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from privfedmm.data import Dataset
from privfedmm.front.compare import compare
from privfedmm.front.training import load, train
from privfedmm.runs.account import curve_costs


def sweep(
    data: str | Path | Dataset, variants: Mapping[str, Mapping[str, Any]], *,
    epsilons: Iterable[float | None] = (None,), seeds: Iterable[int] = (0, 1, 2),
    out: str | Path | None = None, tell: Callable[[str], None] = lambda text: None, **base: Any,
) -> pd.DataFrame:
    """Train every variant at every epsilon with every seed; one row a run, as of `compare`.

    variants: label -> arguments of `train`. base: arguments that all share. epsilons: None is a
    run without privacy. out: a folder of run folders; None writes nothing. The difference of a row
    is to the first run. tell: is told of each run, and at the end what all private ones cost
    together. Raises UserError as `train` does.
    """
    used = load(data) if not isinstance(data, Dataset) else data
    runs = []
    for label, variant in variants.items():
        for epsilon in epsilons:
            for seed in seeds:
                name = label if epsilon is None else f"{label}, epsilon {epsilon:g}"
                folder = None if out is None else Path(out) / name.replace(" ", "_") / f"seed{seed}"
                runs.append(train(used, **{
                    **base, **variant, "seed": seed, "dp_epsilon": epsilon, "label": name,
                    "series": label, "out": folder}))
                tell(repr(runs[-1]))
    for line in curve_costs((run.record, run.links) for run in runs):
        tell(line)
    return compare(runs)
