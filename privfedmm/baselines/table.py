"""All baselines by name, each evaluated like the federated methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from privfedmm.baselines.centralised import (
    EASE_RIDGES,
    IALS_GRID,
    SLIT_HALF_LIVES,
    SLIT_RIDGES,
    ease,
    ials,
    slit,
)
from privfedmm.baselines.simple import (
    popularity,
    popularity_profile,
    public_features,
    random_scores,
)
from privfedmm.data.types import Dataset
from privfedmm.evaluation import (
    EvalProtocol,
    Scorer,
    cold_ranks,
    evaluate,
    metrics_from_ranks,
)

Candidates = Callable[[Dataset, int], Iterable[tuple[str, Scorer]]]
_PROFILE_WEIGHTS = (0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Baseline:
    """`candidates` gives one scorer a setting; the best on validation NDCG@50 is reported."""

    candidates: Candidates
    sees: str
    needs_features: bool = False
    needs_times: bool = False


def _modality(*names: str) -> Candidates:
    def candidates(data: Dataset, seed: int) -> Iterable[tuple[str, Scorer]]:
        chosen = {n: x for n, x in data.features.items() if not names or n in names}
        yield "", public_features(data.train, chosen, data.present)

    return candidates


def _transitions(data: Dataset, seed: int) -> Iterable[tuple[str, Scorer]]:
    assert data.train_age is not None
    for half_life in SLIT_HALF_LIVES:
        scores = slit(data.train, data.num_items, data.train_age, half_life, SLIT_RIDGES)
        for ridge, score in zip(SLIT_RIDGES, scores, strict=True):
            yield f"half-life {half_life:g}, ridge {ridge:g}", score


BASELINES: dict[str, Baseline] = {
    "random": Baseline(
        lambda d, seed: [("", random_scores(d.num_items, seed))], "nothing"
    ),
    "popularity": Baseline(
        lambda d, seed: [("", popularity(d.train, d.num_items))], "item counts in the clear"
    ),
    "public_features": Baseline(_modality(), "nothing leaves the device", True),
    "public_text": Baseline(_modality("text"), "nothing leaves the device", True),
    "public_image": Baseline(_modality("image"), "nothing leaves the device", True),
    "popularity_profile": Baseline(
        lambda d, seed: (
            (f"weight {w}", popularity_profile(
                d.train, d.num_items, d.features, w, d.present))
            for w in _PROFILE_WEIGHTS
        ),
        "item counts in the clear", True,
    ),
    "ease": Baseline(
        lambda d, seed: (
            (f"ridge {r:g}", ease(d.train, d.num_items, r)) for r in EASE_RIDGES
        ),
        "a server that holds every interaction",
    ),
    "slit": Baseline(
        _transitions, "a server that holds every interaction and its time", needs_times=True),
    "ials": Baseline(
        lambda d, seed: (
            (f"factors {k}, regularisation {r:g}", ials(d.train, d.num_items, k, r, seed))
            for k, r in IALS_GRID
        ),
        "a server that holds every interaction",
    ),
}


def baseline_metrics(
    data: Dataset, names: Iterable[str], seed: int, protocol: EvalProtocol
) -> dict[str, dict[str, object]]:
    """Name -> validation and test metrics, what the server sees, and the setting chosen.

    A baseline that needs features or times that the data lacks is left out. Raises ValueError for
    a name that is not known.
    """
    out: dict[str, dict[str, object]] = {}
    targets = {"validation": data.validation, "test": data.test}
    for name in names:
        if name not in BASELINES:
            raise ValueError(f"unknown baseline {name!r}; known are {', '.join(BASELINES)}")
        baseline = BASELINES[name]
        wanted = name.removeprefix("public_")
        lacks = wanted in ("text", "image") and wanted not in data.features
        if baseline.needs_features and (not data.features or lacks):
            continue
        if baseline.needs_times and data.train_age is None:
            continue
        tried = [
            (setting, _judged(score, data, targets, protocol))
            for setting, score in baseline.candidates(data, seed)
        ]
        setting, metrics = max(tried, key=lambda pair: pair[1]["validation"]["ndcg@50"])
        out[name] = dict(metrics)
        out[name]["server_sees"] = baseline.sees
        if setting:
            out[name]["chosen_on_validation"] = setting
    return out


def _judged(
    score: Scorer, data: Dataset, targets: dict[str, np.ndarray], protocol: EvalProtocol
) -> dict[str, dict[str, float]]:
    metrics = evaluate(score, data.train, targets, protocol).metrics
    if data.cold is not None and data.cold_target is not None:
        metrics["test_cold"] = metrics_from_ranks(cold_ranks(score, data.cold, data.cold_target))
    return metrics
