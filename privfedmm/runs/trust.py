"""What a run asks its server to be trusted with, beside what a baseline asks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from privfedmm.baselines.baseline import BASELINES, TRUST
from privfedmm.config import RunConfig

# What a run's row says that is not better than chance or than what nobody has to be trusted for.
BELOW = "†"


def trusted_with(config: RunConfig) -> str:
    """Return what the server of a run is trusted with, one of `TRUST`.

    A finite budget counts as noise wherever it is added: the statement says who adds it. Budgets
    without noise, and sums that everybody may see, are what they are without one.
    """
    if not config.entry.can.federated:
        return "nothing"
    if config.dp is not None and not math.isinf(config.dp.epsilon):
        return "noise"
    return "sums" if config.is_secure else "rows"


def below(
    ndcg: float, trusted: str | None, baselines: Mapping[str, float]
) -> dict[str, float]:
    """Return the baselines, with their NDCG@50, that need less trust than a run and serve better.

    ndcg: of the run. trusted: of the run, one of `TRUST`; None where a record of an earlier
    version does not say, which is then compared with baselines that trust nobody alone. baselines:
    name -> NDCG@50; one whose package is not here is left out.
    """
    mine = TRUST.index(trusted) if trusted in TRUST else 1
    return {name: value for name, value in baselines.items()
            if name in BASELINES and value > ndcg
            and TRUST.index(BASELINES.get(name).trusted_with) < mine}


def sentence(what: str, ndcg: float, better: Mapping[str, float]) -> str:
    """Return in words that a result, named `what`, is below baselines that need less trust."""
    lines = ", ".join(f"{name} ({value:.4f}, {BASELINES.get(name).sees})"
                      for name, value in better.items())
    return (f"{BELOW} {what}, with test ndcg@50 {ndcg:.4f}, is below what needs less trust: "
            f"{lines}")


def of_record(record: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
    """Return the test NDCG@50 of a record, and what it is below that needs less trust."""
    ndcg = float(record["metrics"]["test"]["ndcg@50"])
    lines = {name: float(line["test"]["ndcg@50"]) for name, line in record["baselines"].items()}
    return ndcg, below(ndcg, record.get("trusted_with"), lines)
