"""One round, from drawing the cohort to the server's next state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from privacy import Entry, PrivacyStack
from privfedmm.federation.types import Algorithm, Backend, Costs


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
    """Play one round; `clients` is updated in place, the server's new state is returned."""
    cohort = stack.sampling.draw(population, round_)
    plan = algorithm.plan(state)
    sums, costs = backend.gather(algorithm, plan, clients, cohort, stack)
    totals, entries = stack.finish(sums, cohort)
    return algorithm.step(state, totals), RoundReport(costs, entries)
