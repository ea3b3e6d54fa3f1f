"""One round, from drawing the cohort to the server's next state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from privacy import Entry, PrivacyStack, UploadError
from privfedmm.federation.types import Algorithm, Backend, Costs, TrainsOnDevice


@dataclass(frozen=True)
class RoundReport:
    """What a round leaves behind besides the state: costs and ledger entries."""

    costs: Costs
    entries: tuple[Entry, ...]


def run_round(
    algorithm: Algorithm,
    backend: Backend,
    stack: PrivacyStack,
    state: Any,
    clients: Any,
    population: int,
    round_: int,
) -> tuple[Any, RoundReport]:
    """Play one round; `clients` is updated in place, the server's new state is returned.

    Raises UploadError for a round that fails, which is charged, and BudgetError for one that the
    budget does not allow, of which nothing is released.
    """
    cohort = stack.draw(population, round_)
    plan = algorithm.plan(state)
    try:
        sums, costs = backend.gather(algorithm, plan, clients, cohort, stack)
    except UploadError:
        stack.abort(cohort, population)
        raise
    devices = algorithm.noisy_state(clients) if isinstance(algorithm, TrainsOnDevice) else None
    totals, entries = stack.finish(sums, cohort, population, devices)
    return algorithm.step(state, totals), RoundReport(costs, entries)
