"""The record of a run: what was done to which data, what came out, what it cost, what leaked."""

from __future__ import annotations

import math
import platform
import resource
import sys
from collections import Counter
from importlib import metadata
from typing import Any

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score

from experiments.config import RunConfig
from experiments.session import Session
from privacy import PrivacyStack
from privfedmm.data import Dataset
from privfedmm.evaluation import EvalProtocol, metrics_from_ranks

_PACKAGES = ("privfedmm", "torch", "numpy", "scipy", "scikit-learn")
_SIMULATION_ONLY = [
    "training loss, validation and test metrics, group sizes: computed in one process that plays "
    "all clients; no client sends them and no claim covers them",
]


def dataset_section(data: Dataset) -> dict[str, Any]:
    """Identity and size of the data."""
    return {
        "name": data.name,
        "users": data.num_users,
        "items": data.num_items,
        "interactions": data.num_interactions,
        "sha256": data.sha256,
        "modalities": {n: int(x.shape[1]) for n, x in sorted(data.features.items())},
        "feature_notes": data.feature_notes,
        "k_core": data.protocol.k_core,
    }


def protocol_section(data: Dataset, protocol: EvalProtocol) -> dict[str, Any]:
    """How the data was split and how models are ranked."""
    return {
        "split": data.protocol.split,
        "split_ties": data.protocol.ties,
        "split_note": data.protocol.note,
        "selection": "the round with the best validation ndcg@50; its test metrics are reported",
        **protocol.describe(),
    }


def privacy_section(stack: PrivacyStack, config: RunConfig) -> dict[str, Any]:
    """What left the clients and what is claimed about it. Without noise: nothing, and why."""
    counts = Counter(entry.name for entry in stack.ledger.entries)
    spent = stack.ledger.epsilon()
    claimed = math.isfinite(spent)
    kinds = {release.name: release for release in stack.releases}
    reason = (
        "nothing leaves the clients" if claimed else
        "no privacy is claimed: uploads carry no noise and the server reads them in the clear, so "
        "every release is charged as NonPrivate (epsilon is infinite)"
    )
    if any(release.kind == "individual" for release in stack.releases):
        reason += "; reference grouping clusters every client's own parameters on the server"
    return {
        "unit": "user",
        "adjacency": stack.sampling.adjacency,
        "trust": "central",
        "aggregation": stack.aggregator.name,
        "server_sees": stack.aggregator.server_sees if stack.releases else "nothing",
        "epsilon": spent if claimed else None,
        "delta": 0.0 if claimed else None,
        "epsilon_vs_server": spent if claimed else None,
        "epsilon_vs_observers": spent if claimed else None,
        "reason": reason,
        "rounds": len({entry.round for entry in stack.ledger.entries}),
        "noise_source": "none",
        "releases": [
            {
                "name": name,
                "meaning": kinds[name].meaning,
                "kind": kinds[name].kind,
                "event": "NonPrivate",
                "noise_multiplier": None,
                "clip_norm": None,
                "count": count,
                "sampling_rate": stack.sampling.rate,
            }
            for name, count in sorted(counts.items())
        ],
        "simulation_only": _SIMULATION_ONLY,
    }


def groups_section(session: Session, data: Dataset) -> dict[str, Any] | None:
    """Sizes of the groups at the best round, and their agreement with a planted truth."""
    if session.algorithm.settings.groups.grouping == "none" or not session.best_model:
        return None
    group = session.best_model["clients"]["group"].numpy()
    out: dict[str, Any] = {
        "grouping": session.algorithm.settings.groups.grouping,
        "sizes": np.bincount(
            group, minlength=session.algorithm.settings.groups.groups
        ).tolist(),
    }
    if data.truth is not None:
        out["adjusted_rand_index"] = float(adjusted_rand_score(data.truth.user_group, group))
    return out


def environment_section(config: RunConfig) -> dict[str, Any]:
    """Versions and machine, as far as they can change a number."""
    return {
        "python": platform.python_version(),
        "platform": platform.system(),
        "machine": platform.machine(),
        "threads": config.threads,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def peak_memory_bytes() -> int:
    """Largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def build(
    session: Session,
    data: Dataset,
    protocol: EvalProtocol,
    baselines: dict[str, dict[str, object]],
) -> dict[str, Any]:
    """The whole record, as JSON values."""
    totals = session.totals
    rounds = max(session.state.round, 1)
    fresh = {}
    if data.truth is not None:
        known = data.test >= 0
        new = known & data.truth.fresh_items[np.maximum(data.test, 0)]
        fresh = {"test_on_fresh_items": metrics_from_ranks(session.best_ranks["test"][new])}
    return {
        "format": 1,
        "label": session.config.label,
        "method": session.config.method,
        "mode": session.config.mode,
        "backbone": session.algorithm.backbone.name,
        "seed": session.config.seed,
        "dataset": dataset_section(data),
        "protocol": protocol_section(data, protocol),
        "rounds_run": session.state.round,
        "best_round": session.best.round + 1,
        "metrics": {
            **{name: metrics_from_ranks(r) for name, r in session.best_ranks.items()}, **fresh,
        },
        "baselines": baselines,
        "groups": groups_section(session, data),
        "privacy": privacy_section(session.stack, session.config),
        "costs": {
            "seconds": {
                k.removeprefix("seconds_"): v
                for k, v in totals.items() if k.startswith("seconds_")
            },
            "bytes_up_per_client_round": totals.get("bytes_up", 0.0) / rounds,
            "bytes_down_per_client_round": totals.get("bytes_down", 0.0) / rounds,
            "peak_memory_bytes": peak_memory_bytes(),
        },
        "environment": environment_section(session.config),
    }


def set_threads(threads: int) -> None:
    """One place for the thread policy: spinning OpenMP threads cost more than they give here."""
    torch.set_num_threads(threads)
