"""Set attack figures beside chance and what theory allows, by mode, each with an interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from privacy.audit.attacks import Attack
from privacy.audit.counts import AuditError
from privacy.audit.intervals import Decided, Interval, decided, grouped_auc
from privacy.audit.limits import best_auc, substituted
from privacy.randomness import Source


@dataclass(frozen=True)
class Claim:
    """State an (epsilon, delta) claim.

    present: the question is about a user who is there anyway, as for what it interacted with, and
    not whether it is there.
    """

    epsilon: float
    delta: float
    present: bool = True

    def auc_limit(self) -> float:
        """Return the largest AUC that the claim allows an attack on a fair coin."""
        return best_auc(*(substituted(self.epsilon, self.delta) if self.present
                          else (self.epsilon, self.delta)))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Hold the figures of one attack under one mode.

    bound: largest AUC that the claim allows; 1 without a claim. chance_auc: of an adversary who
    sees nothing of the target (0.5, or an item's popularity); chance_f1: of as many guesses at
    random.
    """

    mode: str
    attack: str
    auc: Interval
    decided: Decided
    bound: float
    chance_auc: float
    chance_f1: float


def measure(
    mode: str, name: str, attack: Attack, source: Source, claim: Claim | None = None,
    chance_auc: float = 0.5, alpha: float = 0.05,
) -> Cell:
    """Measure an attack. Raises AuditError where its truth is of one class only."""
    total, true, guessed = len(attack.truth), attack.truth.sum(), attack.guess.sum()
    return Cell(
        mode=mode, attack=name,
        auc=grouped_auc(attack.scores, attack.truth, attack.unit, alpha, source),
        decided=decided(attack.guess, attack.truth, attack.unit, alpha, source),
        bound=claim.auc_limit() if claim else 1.0, chance_auc=chance_auc,
        chance_f1=float(2 * guessed * true / total / (guessed + true)))


@dataclass(frozen=True)
class AttackMatrix:
    """Hold cells by mode and attack, in the order given. Raises AuditError for a pair given
    twice."""

    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        keys = [(cell.mode, cell.attack) for cell in self.cells]
        if len(set(keys)) != len(keys):
            raise AuditError("an attack is listed twice for one mode")

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> AttackMatrix:
        """Make the matrix of cells."""
        return cls(tuple(cells))

    @property
    def modes(self) -> tuple[str, ...]:
        """Return the modes in order of appearance."""
        return tuple(dict.fromkeys(cell.mode for cell in self.cells))

    @property
    def attacks(self) -> tuple[str, ...]:
        """Return the attacks in order of appearance."""
        return tuple(dict.fromkeys(cell.attack for cell in self.cells))

    def cell(self, mode: str, attack: str) -> Cell | None:
        """Return the cell, or None where the attack does not apply to the mode."""
        return next((c for c in self.cells if (c.mode, c.attack) == (mode, attack)), None)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the cells as JSON objects."""
        return [asdict(cell) for cell in self.cells]
