"""All of a run that is told to everybody before anybody has uploaded, for tests of what it follows
from."""

from __future__ import annotations

from typing import Any

from privfedmm.config import RunConfig
from privfedmm.data import Dataset
from privfedmm.federation import FeaturePin
from privfedmm.runs.session import Session


def told(config: RunConfig, data: Dataset) -> dict[str, Any]:
    """All that is public before anybody uploads: what parties agree on, and what clients hear."""
    session = Session.start(config, data)
    algorithm = session.algorithm
    return {
        "items": data.item_ids.tolist(), "users": data.num_users,
        "pin": FeaturePin.of(algorithm.public_features),
        "releases": algorithm.releases,
        "subspace": {name: basis.numpy().tobytes()
                     for name, basis in algorithm.subspace(16).items()},
        "plan": algorithm.plan_hash(algorithm.plan(session.state)),
        "bytes": algorithm.plan_bytes(algorithm.plan(session.state)),
        "noise": session.planned.noise_multiplier, "rounds": session.planned.rounds,
        "settings": session.planned.settings, "statement": session.statement,
    }
