"""Baselines evaluated like the federated methods."""

from __future__ import annotations

from collections.abc import Iterable

from privfedmm.base.registry import UnknownName
from privfedmm.baselines.baseline import BASELINES
from privfedmm.data.types import Dataset
from privfedmm.evaluation import (
    EvalProtocol,
    Scorer,
    cold_ranks,
    evaluate_on,
    metrics_from_ranks,
)


def baseline_metrics(
    data: Dataset, names: Iterable[str], seed: int, protocol: EvalProtocol
) -> dict[str, dict[str, object]]:
    """Return, for each name, metrics, what the server sees and the setting chosen.

    A baseline that needs features or times that the data lacks is left out; of several settings
    the best on validation NDCG@50 is taken. Raises UnknownName, a ValueError, for a name that is
    not known, and whatever a baseline's candidates raise.
    """
    out: dict[str, dict[str, object]] = {}
    for name in names:
        if name not in BASELINES:
            raise UnknownName(
                f"unknown baseline {name!r}; known are {', '.join(BASELINES.names())}")
        baseline = BASELINES.get(name)
        if not baseline.fits(data):
            continue
        tried = [
            (setting, _judged(score, data, protocol))
            for setting, score in baseline.candidates(data, seed)
        ]
        setting, metrics = max(tried, key=lambda pair: pair[1]["validation"]["ndcg@50"])
        out[name] = dict(metrics)
        out[name]["server_sees"] = baseline.sees
        if setting:
            out[name]["chosen_on_validation"] = setting
    return out


def _judged(
    score: Scorer, data: Dataset, protocol: EvalProtocol
) -> dict[str, dict[str, float]]:
    metrics = evaluate_on(score, data, protocol).metrics
    if data.cold is not None and data.cold_target is not None:
        metrics["test_cold"] = metrics_from_ranks(
            cold_ranks(score, data.cold, data.cold_target), more=protocol.metrics)
    return metrics
