"""`privfedmm bench dp`: what clip, projection, noise and ledger add to a round."""

from __future__ import annotations

import time
from typing import Any

from privacy import Ledger, PrivacyStack
from privfedmm.config import RunConfig, resolve
from privfedmm.data import Dataset
from privfedmm.federation import Simulator, run_round
from privfedmm.runs.record import set_threads
from privfedmm.runs.run import load_data
from privfedmm.runs.session import Session

METHODS = ("group_statistics", "gfmfr")


def bench(dataset: str, epsilon: float, repeats: int, seed: int) -> dict[str, Any]:
    """Measure CPU seconds of a round, averaged over a run, with its privacy stack and without.

    Both train with the settings of the private run; the lesser of `repeats` runs counts.
    """
    set_threads(1)
    out: dict[str, Any] = {"dataset": dataset, "epsilon": epsilon, "methods": {}}
    for method in METHODS:
        config = resolve(None, {"dataset": dataset, "method": method, "dp.epsilon": epsilon,
                                "seed": seed, "threads": 1})
        data = load_data(config)
        out["users"] = data.num_users
        # In turns, so that what else the machine does meets both alike.
        taken = [[_seconds(config, data, private) for private in (True, False)]
                 for _ in range(repeats)]
        private, plain = (min(column) for column in zip(*taken, strict=True))
        out["methods"][method] = {
            "private_cpu_seconds": private, "plain_cpu_seconds": plain,
            "added": private / plain - 1}
    return out


def _seconds(config: RunConfig, data: Dataset, private: bool) -> float:
    session = Session.start(config, data)
    algorithm, rounds = session.algorithm, session.planned.rounds
    stack = session.stack if private else PrivacyStack(algorithm.releases, Ledger())
    state, spent = session.state, 0.0
    for round_ in range(rounds):
        started = time.process_time()
        state, _ = run_round(algorithm, Simulator(), stack, state, session.clients,
                             data.num_users, round_)
        spent += time.process_time() - started
    return spent / rounds
