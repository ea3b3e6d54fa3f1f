"""Methods to compare with, under the same evaluation: no training loop, no federation."""

from __future__ import annotations

from privfedmm.baselines.baseline import BASELINES, Baseline
from privfedmm.baselines.centralised import EASE_RIDGES, IALS_GRID, ease, ials, slit
from privfedmm.baselines.compare import baseline_metrics
from privfedmm.baselines.content import popularity_profile, public_features
from privfedmm.baselines.simple import popularity, random_scores

__all__ = [
    "BASELINES",
    "EASE_RIDGES",
    "IALS_GRID",
    "Baseline",
    "baseline_metrics",
    "ease",
    "ials",
    "popularity",
    "popularity_profile",
    "public_features",
    "random_scores",
    "slit",
]
