"""The record of a run: what was done to which data, what came out, what it cost, what leaked."""

from __future__ import annotations

import math
import platform
import resource
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch

from privfedmm.base.files import finite
from privfedmm.baselines import simple
from privfedmm.config import RunConfig
from privfedmm.data import Dataset, pinned
from privfedmm.evaluation import (
    SHOWN,
    EvalProtocol,
    cold_ranks,
    describe,
    gains,
    metrics_from_ranks,
    paired_interval,
)
from privfedmm.mixing.algorithm import weights_of
from privfedmm.runs.differences import flat, plain_config
from privfedmm.runs.identity import identity
from privfedmm.runs.session import Session
from privfedmm.runs.trust import trusted_with

_PACKAGES = ("privfedmm", "torch", "numpy", "scipy", "scikit-learn", "dp-accounting",
             "cryptography")
_SIMULATED = "one process plays all clients; no message leaves it"


@dataclass(frozen=True)
class Carried:
    """This says what carried the rounds.

    only: what no claim covers, known to the experimenter alone.
    """

    backend: str
    nodes: int
    exchanges: int
    note: str
    only: tuple[str, ...] = ()


SIMULATOR = Carried("simulator", 0, 0, _SIMULATED)
_SIMULATION_ONLY = [
    "training loss, validation and test metrics, group sizes, unusable and shortened uploads: "
    "computed in one process that plays all clients; no client sends them and no claim covers them",
    "who is evaluated and against which items (a k-core of all rows): the experimenter's choice",
]


def dataset_section(data: Dataset) -> dict[str, Any]:
    """Return identity and size of the data."""
    return {
        "name": data.name,
        "users": data.num_users,
        "items": data.num_items,
        "interactions": data.num_interactions,
        "sha256": data.sha256,
        "read_sha256": data.read_sha256 or data.sha256,
        "items_from": "a public catalogue" if data.public_items else "the users' rows",
        "modalities": {n: int(x.shape[1]) for n, x in sorted(data.features.items())},
        "feature_notes": data.feature_notes,
        "feature_sha256": pinned(data.features),
        "missing": data.missing,
        "k_core": data.protocol.k_core,
        "summary": None if data.summary is None else data.summary.to_json(),
    }


@dataclass(frozen=True)
class SameData:
    """This is what tells whether the figures of two records compare, user by user.

    read: the hash of the rows and features as they were read. content: that of the data set which
    was made of them. users: how many there are. ranked: how many of them are ranked.
    """

    read: str
    content: str
    users: int
    ranked: int

    def alike(self, other: SameData) -> bool:
        """Return whether figures over the same users can be had of both.

        With a budget and without one the same rows make two data sets, over the catalogue and over
        the core: then what was read decides. Some who train may be ranked in one alone.
        """
        same = self.read == other.read or self.content == other.content
        return same and (self.users == other.users or self.ranked == other.ranked)


def same_data(record: dict[str, Any]) -> SameData:
    """Return what two records must share for their figures to compare.

    Records of earlier versions do not say who is ranked, and all users count.
    """
    data = record["dataset"]
    ranked = record["protocol"].get("targets", {}).get("test", {}).get("users", data["users"])
    return SameData(
        data.get("read_sha256", data["sha256"]), data["sha256"], data["users"], ranked)


def shown(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the metrics that the tables of a run show."""
    return tuple(record["protocol"].get("metrics") or SHOWN)  # earlier versions had no choice


def same_protocol(record: dict[str, Any]) -> tuple[str, ...]:
    """Return what two records share that were judged alike: split, ranking, whom a target is ranked
    against, and ties.

    Under a budget the experimenter's k-core is named beside the candidates; it is not compared.
    """
    protocol = record["protocol"]
    return (protocol["split"], f"{protocol['ranking']} ranking",
            str(protocol["candidates"]).partition("; of the ")[0].partition(" (stream")[0],
            f"ties {protocol['ties']}")


def protocol_section(data: Dataset, protocol: EvalProtocol, private: bool) -> dict[str, Any]:
    """Return how the data was split and how models are ranked."""
    return {
        "split": data.protocol.split,
        "split_ties": data.protocol.ties,
        "split_note": data.protocol.note,
        "selection": (
            "the last round, whatever its metrics: choosing one would be a release" if private
            else "the round with the best validation ndcg@50; its test metrics are reported"),
        **describe(protocol, data),
    }


def privacy_section(session: Session, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what left the clients, what is claimed about it, and against whom; None where nothing
    is."""
    stack, promise = session.stack, session.statement
    entries, bound = stack.ledger.entries, stack.ledger.commitment
    budget, tuned = session.planned.budget, session.config.tuned
    spent = None
    if promise.epsilon is not None:
        # Without a budget the only finite price is that of an empty ledger.
        spent = stack.ledger.spent(budget.delta if budget else 1e-5)
        spent = spent if math.isfinite(spent) else None
    steps = {(e.name, e.event): e.steps for e in entries}
    counts = Counter((e.name, e.event, e.noise_multiplier, e.clip_norm) for e in entries)
    meanings = {release.name: (release.meaning, release.kind) for release in stack.releases}
    joint = ("every upload of a client as one vector, clipped together: "
             + ", ".join(release.name for release in stack.releases))
    if stack.clipper:
        meanings[stack.clipper.release.name] = (stack.clipper.release.meaning, "sum")
    if stack.on_device:
        joint = ("all that a client's noisy training steps tell, of which it uploads: "
                 + ", ".join(release.name for release in stack.releases))
    return {
        **promise.to_json(),
        "epsilon_spent": spent,
        "rounds": len({entry.round for entry in entries}),
        "rounds_planned": session.planned.rounds,
        "settings_chosen": "the run chose nothing by metrics: groups and rounds follow from users "
                           "and noise; the other settings are the config's"
                           + (f"; {session.planned.told}" if session.planned.told else "")
                           + ("" if tuned is None else f", which chose {tuned.told()}"),
        "ledger_digest": (stack.ledger.digests or (None,))[-1],
        "run": None if bound is None else bound["run"],
        "releases": [
            {
                "name": name,
                "meaning": meanings.get(name, (joint, "sum"))[0],
                "kind": meanings.get(name, (joint, "sum"))[1],
                "event": event,
                "noise_multiplier": multiplier,
                "clip_norm": clip,
                "count": count,
                "steps": steps[name, event],
                "sampling_rate": stack.sampling.rate,
            }
            for (name, event, multiplier, clip), count in sorted(
                counts.items(), key=lambda item: item[0][0])
        ],
        "adaptive_clip": stack.clipper.to_json() if stack.clipper else None,
        "simulation_only": list(only) or _SIMULATION_ONLY,
    }


def stopped(session: Session) -> dict[str, Any]:
    """Return after which round training ended, and why."""
    best, planned = session.best, session.planned.rounds - len(session.lost)
    played = session.played
    if played >= session.planned.rounds:
        why = f"all {planned} rounds were played" + (
            "" if session.config.dp is None else "; under a budget their number is fixed")
    elif best.stop or session.state.round >= session.planned.rounds:
        why = (f"{session.config.evaluation.patience} evaluations in a row had no better "
               "validation ndcg@50 (evaluation.patience)" + (
                   f"; {session.weighed} rounds of the mix followed" if session.weighed else ""))
    else:
        why = "a callback ended it"
    return {"round": played, "of_at_most": session.planned.rounds, "why": why}


def groups_section(session: Session, data: Dataset) -> dict[str, Any] | None:
    """Return the sizes of the groups at the best round, and their agreement with a planted
    truth."""
    found = session.algorithm.groups_of(session.best_model) if session.best_model else None
    if found is None:
        return None
    kind, group, groups = found
    out: dict[str, Any] = {
        "grouping": kind,
        "sizes": np.bincount(group, minlength=groups).tolist(),
    }
    if data.truth is not None:
        from sklearn.metrics import adjusted_rand_score

        out["adjusted_rand_index"] = float(adjusted_rand_score(data.truth.user_group, group))
    return out


def cold_section(session: Session, data: Dataset) -> dict[str, Any] | None:
    """Return how cold items were ranked, and by how much better than at random; None without
    any."""
    if data.cold is None or data.cold_target is None:
        return None
    ranks, seed = session.best_ranks["test_cold"], session.config.seed
    chance = cold_ranks(simple.random_scores(data.num_items, seed), data.cold, data.cold_target)
    have = data.cold_target >= 0
    mean, low, high = paired_interval(
        gains(ranks[have], 50)[None], gains(chance[have], 50)[None], seed)
    return {
        "items": int(data.cold.sum()),
        "users_with_target": int(have.sum()),
        "candidates": "all cold items, the user's other cold ones among them",
        "target": "the user's cold test item, else validation, else a random cold training item",
        "ndcg@50_above_random": {"mean": mean, "low": low, "high": high,
                                 "interval": "95%, bootstrap over users"},
    }


def environment_section(config: RunConfig) -> dict[str, Any]:
    """Return versions and machine, as far as they can change a number."""
    return {
        "python": platform.python_version(),
        "platform": platform.system(),
        "machine": platform.machine(),
        "threads": config.threads,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def peak_memory_bytes() -> int:
    """Return the largest resident set of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def build(
    session: Session,
    data: Dataset,
    protocol: EvalProtocol,
    baselines: dict[str, dict[str, object]],
    carried: Carried = SIMULATOR,
) -> dict[str, Any]:
    """Return the whole record, as JSON values."""
    totals, settings = session.totals, plain_config(session.config)
    rounds = max(session.played, 1)
    parts = session.config.entry.parts(session.config.method_settings)
    fresh = {}
    if data.truth is not None:
        known = data.test >= 0
        new = known & data.truth.fresh_items[np.maximum(data.test, 0)]
        fresh = {"test_on_fresh_items": metrics_from_ranks(
            session.best_ranks["test"][new], more=protocol.metrics)}
    return {
        "format": 1,
        "identity": identity(flat(settings), data.sha256),
        "config": settings,
        "label": session.config.label,
        "series": session.config.series,
        "method": session.config.method,
        "dp_epsilon": (
            None if session.config.dp is None else
            finite(session.config.dp.epsilon) or "inf"),
        "trusted_with": trusted_with(session.config),
        "mode": session.config.mode,
        "backbone": (
            parts.get("backbone", "none")),
        "parts": parts,
        "seed": session.config.seed,
        "tuned": None if session.config.tuned is None else session.config.tuned.model_dump(
            mode="json"),
        "dataset": dataset_section(data),
        "protocol": protocol_section(data, protocol, session.config.dp is not None),
        "rounds_run": session.played,
        "best_round": session.best.round + 1,
        "stopped": stopped(session),
        "metrics": {
            **{name: metrics_from_ranks(r, more=protocol.metrics)
               for name, r in session.best_ranks.items()}, **fresh,
        },
        "baselines": baselines,
        "cold_items": cold_section(session, data),
        "groups": groups_section(session, data),
        "mix": weights_of(session.best_model or session.algorithm.to_saved(
            session.state, session.clients)),
        "privacy": privacy_section(session, carried.only),
        "federation": {k: v for k, v in asdict(carried).items() if k != "only"},
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
    """Set the number of threads of torch: spinning OpenMP threads cost more than they give here."""
    torch.set_num_threads(threads)
