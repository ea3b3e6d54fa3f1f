"""One round, from drawing the cohort to the server's next state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from privacy import (
    ChainError,
    Entry,
    PrivacyStack,
    ProtocolError,
    RoundAborted,
    RoundNotBegun,
    UploadError,
)
from privfedmm.federation.types import Algorithm, Backend, Costs, TrainsOnDevice


@dataclass(frozen=True)
class RoundReport:
    """Reports what a round leaves behind besides the state: its costs and its ledger entries."""

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
    """Play one round, and return the server's new state and a report; `clients` changes in place.

    Raises UploadError or RoundAborted for a round that fails, which is charged unless no client was
    asked for an upload yet (RoundNotBegun), BudgetError for one that the budget does not allow, of
    which nothing is released, and ChainError where the stack charges for other noise than the
    algorithm's devices add.
    """
    noisy = algorithm if isinstance(algorithm, TrainsOnDevice) else None
    if stack.on_device is not (noisy.on_device if noisy else None):
        raise ChainError("the stack charges for noise that the algorithm's devices do not add; "
                         "give the stack the algorithm's own on_device")
    cohort = stack.draw(population, round_)
    stack.admit(cohort, population)
    plan = algorithm.plan(state)
    try:
        sums, costs = backend.gather(algorithm, plan, clients, cohort, stack)
    except RoundNotBegun:
        raise
    except (UploadError, RoundAborted):
        stack.abort(cohort, population)
        raise
    except ProtocolError as error:
        # Refused by a party in the middle of the round: clients have uploaded by then.
        stack.abort(cohort, population)
        raise RoundAborted(str(error)) from error
    devices = noisy.noisy_state(clients) if noisy else None
    totals, entries = stack.finish(sums, cohort, population, devices)
    return algorithm.step(state, totals), RoundReport(costs, entries)
