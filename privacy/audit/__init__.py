"""Audit empirically: does a mechanism leak more than its ledger claims? What do attacks learn?"""

from privacy.audit.attacks import (
    Attack,
    group_from_size,
    group_from_support,
    presence,
    row_geometry,
    rows_in_difference,
    rows_in_sum,
    signed_rows,
    touched_rows,
)
from privacy.audit.benign import BenignRound, synthetic_benign
from privacy.audit.canaries import AuditSource, draw_coins, draw_directions
from privacy.audit.counts import (
    AuditError,
    gaussian_run_epsilon,
    one_run_epsilon,
    repeated_epsilon,
)
from privacy.audit.experiment import (
    AuditPlan,
    Evidence,
    audit_mechanism,
    closer,
    not_made,
    play,
)
from privacy.audit.fresh import Fresh, fresh_draws
from privacy.audit.intervals import Decided, Interval
from privacy.audit.limits import (
    best_accuracy,
    best_advantage,
    best_auc,
    best_gaussian_auc,
    best_tpr,
    substituted,
)
from privacy.audit.matrix import AttackMatrix, Cell, Claim, measure
from privacy.audit.replay import replayed
from privacy.audit.residual import NOISE_LEVEL, Residual, failures, noise_tests, sentence
from privacy.audit.result import AuditResult, judge
from privacy.audit.sabotage import SABOTAGES, sabotage
from privacy.audit.scores import MeanShift, mean_shift, repeated_scores_epsilon

__all__ = [
    "NOISE_LEVEL",
    "SABOTAGES",
    "Attack",
    "AttackMatrix",
    "AuditError",
    "AuditPlan",
    "AuditResult",
    "AuditSource",
    "BenignRound",
    "Cell",
    "Claim",
    "Decided",
    "Evidence",
    "Fresh",
    "Interval",
    "MeanShift",
    "Residual",
    "audit_mechanism",
    "best_accuracy",
    "best_advantage",
    "best_auc",
    "best_gaussian_auc",
    "best_tpr",
    "closer",
    "draw_coins",
    "draw_directions",
    "failures",
    "fresh_draws",
    "gaussian_run_epsilon",
    "group_from_size",
    "group_from_support",
    "judge",
    "mean_shift",
    "measure",
    "noise_tests",
    "not_made",
    "one_run_epsilon",
    "play",
    "presence",
    "repeated_epsilon",
    "repeated_scores_epsilon",
    "replayed",
    "row_geometry",
    "rows_in_difference",
    "rows_in_sum",
    "sabotage",
    "sentence",
    "signed_rows",
    "substituted",
    "synthetic_benign",
    "touched_rows",
]
