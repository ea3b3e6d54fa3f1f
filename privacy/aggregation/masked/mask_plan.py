"""From a task to the terms of its masked round: the same for parties in one process and apart."""

from __future__ import annotations

from dataclasses import dataclass

from privacy.aggregation.masked.graph import choose_degree
from privacy.aggregation.masked.terms import Floor, RoundTerms
from privacy.aggregator import Task, dims

# The sum over one client alone is its vector.
_FEWEST = 2


@dataclass(frozen=True)
class MaskPlan:
    """What every party of a run settles about masks before its first round.

    run: the bytes that name the run. dropout, colluding: the shares of a cohort, in [0, 1), that
    may vanish, or hand all they know to the server. failure_bits: -log2 of the chance of failure
    that the graph of masks is planned for (`choose_degree`).
    """

    run: bytes
    dropout: float
    colluding: float
    failure_bits: float

    def graph(self, clients: int) -> tuple[int, int]:
        """The neighbours of a client, and the threshold of shares, in a cohort of this size.

        Where a cohort is too small for the planned chance of failure: the complete graph and a
        majority, which hold for certain up to as many dropouts or colluders as it says.
        """
        try:
            return choose_degree(clients, self.dropout, self.colluding, self.failure_bits)
        except ValueError:
            return clients - 1, max((clients - 1) // 2 + 1, 2)

    def terms(self, task: Task, plan_hash: bytes | None) -> RoundTerms:
        """The terms of a task's masked round.

        plan_hash: the hash of the plan that went with the task; None where it is still to come,
        so that keys can be advertised before. Raises ProtocolError for a cohort of fewer than 3
        clients.
        """
        cohort = tuple(task.cohort.ids.tolist())
        degree, threshold = self.graph(len(cohort))
        return RoundTerms(
            self.run, task.cohort.round, task.attempt, cohort, dims(task.releases), degree,
            threshold, max(task.min_survivors, _FEWEST), plan_hash)

    def floor(self, task: Task) -> Floor:
        """The least that a client accepts of the terms of a task's round."""
        _, threshold = self.graph(len(task.cohort.ids))
        return Floor(threshold, max(task.min_survivors, _FEWEST))
