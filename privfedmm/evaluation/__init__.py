"""Ranking every item for every user: ranks first, metrics from ranks."""

from privfedmm.evaluation.formulas import Metric
from privfedmm.evaluation.metrics import (
    CUTOFFS,
    METRICS,
    SHOWN,
    Cut,
    ScoreError,
    cut_of,
    gains,
    hits,
    metrics_from_ranks,
    names_of,
)
from privfedmm.evaluation.places import Places, Ranks, from_arrays, to_arrays
from privfedmm.evaluation.protocol import describe
from privfedmm.evaluation.ranking import (
    TARGETS,
    EvalProtocol,
    Evaluation,
    Scorer,
    cold_ranks,
    evaluate,
    evaluate_on,
)
from privfedmm.evaluation.selection import BestRound, paired_interval

__all__ = [
    "CUTOFFS",
    "METRICS",
    "SHOWN",
    "TARGETS",
    "BestRound",
    "Cut",
    "EvalProtocol",
    "Evaluation",
    "Metric",
    "Places",
    "Ranks",
    "ScoreError",
    "Scorer",
    "cold_ranks",
    "cut_of",
    "describe",
    "evaluate",
    "evaluate_on",
    "from_arrays",
    "gains",
    "hits",
    "metrics_from_ranks",
    "names_of",
    "paired_interval",
    "to_arrays",
]
