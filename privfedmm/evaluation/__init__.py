"""Ranking every item for every user: ranks first, metrics from ranks."""

from privfedmm.evaluation.ranking import (
    CUTOFFS,
    TARGETS,
    BestRound,
    EvalProtocol,
    Evaluation,
    ScoreError,
    Scorer,
    cold_ranks,
    evaluate,
    gains,
    hits,
    metrics_from_ranks,
    paired_interval,
)

__all__ = [
    "CUTOFFS",
    "TARGETS",
    "BestRound",
    "EvalProtocol",
    "Evaluation",
    "ScoreError",
    "Scorer",
    "cold_ranks",
    "evaluate",
    "gains",
    "hits",
    "metrics_from_ranks",
    "paired_interval",
]
