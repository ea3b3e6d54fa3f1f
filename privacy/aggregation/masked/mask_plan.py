"""From a task to the terms of its masked round: the same for parties in one process and apart."""

from __future__ import annotations

from dataclasses import dataclass

from privacy.aggregation.masked.terms import Floor, RoundTerms
from privacy.aggregation.masked.tolerance import Choice, Tolerance
from privacy.aggregator import Task, dims

# The sum over one client alone is its vector.
_FEWEST = 2


@dataclass(frozen=True)
class MaskPlan:
    """Hold what every party of a run settles about masks before its first round.

    run: the bytes that name the run. tolerance: whom the sums are to hold against, and how many
    dropouts they are to bear. beacon: bytes [32] that the graphs of the run are drawn from, chosen
    by no single party (`Beacon`); None while they are still to come.
    """

    run: bytes
    tolerance: Tolerance
    beacon: bytes | None = None

    def graph(self, cohort: tuple[int, ...]) -> Choice:
        """Choose the degree of the graph, and the threshold of shares, in a cohort of these
        clients.

        Raises IntolerableError, a ProtocolError, where no graph bears what is asked.
        """
        return self.tolerance.choice(cohort)

    def terms(self, task: Task, plan_hash: bytes | None) -> RoundTerms:
        """Return the terms of a task's masked round.

        plan_hash: the hash of the plan that went with the task; None where it is still to come,
        so that keys can be advertised before. Raises ProtocolError for a cohort of fewer than 3
        clients, and for one that does not bear what is asked.
        """
        cohort = tuple(task.cohort.ids.tolist())
        choice = self.graph(cohort)
        return RoundTerms(
            self.run, task.cohort.round, task.attempt, cohort, dims(task.releases), choice.degree,
            choice.threshold, max(task.min_survivors, _FEWEST), plan_hash, self.beacon)

    def floor(self, task: Task) -> Floor:
        """Return the least that a client accepts of the terms of a task's round."""
        choice = self.graph(tuple(task.cohort.ids.tolist()))
        return Floor(choice.threshold, max(task.min_survivors, _FEWEST), choice.degree)
