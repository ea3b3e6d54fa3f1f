"""One round of a run, played, judged and told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from privfedmm.evaluation import Ranks, metrics_from_ranks
from privfedmm.federation import Backend, run_round
from privfedmm.runs import notices
from privfedmm.runs.session import Session

Ranking = Callable[[Session], Mapping[str, Ranks]]


@dataclass(frozen=True)
class Means:
    """These are the means by which rounds are carried.

    ranks: returns the ranks of the held-out items by target name, or nothing where nobody tells.
    command: the privfedmm command by which such a run is continued.
    """

    backend: Backend
    ranks: Ranking
    command: str = "run"


def play_round(session: Session, means: Means) -> dict[str, Any]:
    """Play and judge one round; add its row of rounds.jsonl, which never holds a test metric, to
    the session's, and return it."""
    config, number = session.config, session.state.round
    place = session.played  # behind its number where a mix followed training that ended early
    started = time.perf_counter()
    session.state, report = run_round(
        session.algorithm, means.backend, session.stack, session.state, session.clients,
        session.population, number,
    )
    trained = time.perf_counter()
    row: dict[str, Any] = {
        "round": place + 1,
        "simulation_loss": report.costs.simulation_loss,
        "seconds": trained - started,
        "bytes_up_per_client": report.costs.bytes_up_per_client,
        "bytes_down_per_client": report.costs.bytes_down_per_client,
        "survivors": report.costs.survivors,
    }
    if number != place:
        row["number"] = number + 1  # in the ledger
    for party, seconds in report.costs.protocol_seconds.items():
        row[f"seconds_{party}"] = seconds
        _add(session.totals, f"seconds_{party}", seconds)
    if session.stack.mechanism is not None:
        row |= {"simulation_zeroed": report.costs.simulation_zeroed,
                "simulation_shortened": report.costs.simulation_shortened}
    warned = notices.of_round(session, report.costs, session.said)
    if warned:
        row["simulation_warnings"] = warned
    if session.stack.clipper is not None:
        row["clip_norm"] = session.stack.clipper.clip_norm(number)
    last = number + 1 == session.planned.rounds
    # Under a budget the last round is the result: choosing one by its metrics would be a release.
    if last or (config.dp is None and (place + 1) % config.evaluation.every == 0):
        ranks = means.ranks(session)
        # Nobody has to tell how well it is served: then the last model is the result.
        row |= judge(session, ranks, place) if ranks else {}
    judged = time.perf_counter()
    _add(session.totals, "seconds_train", trained - started)
    _add(session.totals, "seconds_evaluate", judged - trained)
    _add(session.totals, "bytes_up", report.costs.bytes_up_per_client)
    _add(session.totals, "bytes_down", report.costs.bytes_down_per_client)
    session.rows.append(row)
    return row


def judge(
    session: Session, ranks: Mapping[str, Ranks], number: int
) -> dict[str, Any]:
    """Keep the model where it is the best so far, by ranks by target; return what the row says."""
    validation = metrics_from_ranks(ranks["validation"], more=session.config.evaluation.metrics)
    if session.best.better(validation["ndcg@50"], number):
        session.best_ranks = dict(ranks)
        session.best_model = session.algorithm.to_saved(session.state, session.clients)
    return {"validation": validation, "best": session.best.round == number}


def _add(totals: dict[str, float], key: str, value: float) -> None:
    totals[key] = totals.get(key, 0.0) + value
