"""`privfedmm bench round`: the vectorised simulator against a loop over clients."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from experiments.benchmarks.client_loop import train_round
from privacy import Ledger, PrivacyStack
from privfedmm.backbones import BACKBONES
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.evaluation import EvalProtocol, evaluate_on
from privfedmm.federation import Simulator
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.runs.record import peak_memory_bytes, set_threads
from privfedmm.runs.run import load_data
from privfedmm.runs.session import Session


def bench(dataset: str, backbone: str, epochs: int, seed: int) -> dict[str, Any]:
    """Measure CPU seconds of one round of the backbone without groups, by both, on one thread.

    `max_update_difference` is relative to the largest entry of the summed item update.
    """
    set_threads(1)
    config = resolve(None, {
        "dataset": dataset, "method": "backbone", "seed": seed, "threads": 1,
        "algorithm.model.backbone": backbone, "algorithm.local.epochs": epochs,
    })
    twin = BACKBONES.get(backbone).twin
    if twin is None:
        raise UserError(f"bench round: backbone {backbone} has no torch module to compare with; "
                        "give its entry a twin")
    data = load_data(config)
    session = Session.start(config, data)
    algorithm, state = session.algorithm, session.state
    assert isinstance(algorithm, GFMFR)
    users = session.clients.user.clone()
    plan = algorithm.plan(state)
    cohort = session.stack.draw(data.num_users, 0)
    # One round outside the clock: allocator, code and caches warm for the loop as well.
    warm = PrivacyStack(algorithm.releases, Ledger())
    Simulator().gather(algorithm, plan, session.clients, cohort, warm)
    session.clients.user.copy_(users)

    started = time.process_time()
    sums, _ = Simulator().gather(algorithm, plan, session.clients, cohort, session.stack)
    vectorised = time.process_time() - started

    def score(ids: np.ndarray) -> np.ndarray:
        return algorithm.scores(state, session.clients, ids).numpy()

    started = time.perf_counter()
    evaluate_on(score, data, EvalProtocol())
    evaluated = time.perf_counter() - started
    memory = peak_memory_bytes()

    settings = algorithm.settings.local
    started = time.process_time()
    expected = train_round(
        twin, data.train, state.items, users, state.network, settings, seed, 0
    )
    loop = time.process_time() - started
    difference = (sums.sums["item_update"] - expected).abs().max() / expected.abs().max()
    return {
        "dataset": data.name,
        "backbone": backbone,
        "users": data.num_users,
        "local_epochs": epochs,
        "negatives_per_positive": settings.negatives_per_positive,
        "ratio": loop / vectorised,
        "train_cpu_seconds": vectorised,
        "loop_cpu_seconds": loop,
        "evaluate_seconds": evaluated,
        "peak_memory_bytes": memory,
        "max_update_difference": float(difference),
    }
