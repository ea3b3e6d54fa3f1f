"""`privfedmm audit`, the attack matrix: what each mode of a run lets its adversary infer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from privacy import Place, RoundAborted, SimulationSource
from privacy.audit import (
    Attack,
    AuditSource,
    Cell,
    Claim,
    draw_directions,
    group_from_size,
    group_from_support,
    measure,
    presence,
    row_geometry,
    rows_in_difference,
    rows_in_sum,
    signed_rows,
    touched_rows,
)
from privacy.extras import MissingExtra
from privfedmm.assemble import algorithm_of
from privfedmm.audit.attack_views import Blocks, Mode, Seen, own_tables, released, watch
from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig
from privfedmm.data import Dataset
from privfedmm.federation import FeaturesChangedError, Simulator, run_round
from privfedmm.mechanisms.aggregators import AGGREGATORS, OWN
from privfedmm.runs.session import Session

WITHOUT_CLAIM = 2.0  # epsilon of the private modes of a run that has none
# By where the noise is: the way of summing under it.
_UNDER_NOISE = {Place.CENTRAL: "plain", Place.DISTRIBUTED: "masked", Place.LOCAL: "plain"}
PRIVATE = tuple(place.value for place in _UNDER_NOISE)
MODES = (*OWN, *PRIVATE)
QUICK_MODES = ("plain", "masked", "central")
TOUCHED, SIGNED, GEOMETRY = "changed rows", "signed rows", "parameter geometry"
SUM, DIFFERENCE, PRESENCE = "rows of the sum", "differencing: rows", "differencing: presence"
GROUP, SWAPPED = "group", "swapped features"
NOTHING_SENT = "the method sends nothing"
UPLOAD_ATTACKS = (TOUCHED, SIGNED, GEOMETRY, GROUP)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """This is the size of an attack.

    users: the number of clients in the rounds, 0 for all of the run's. watched: the number of
    clients whose uploads are read. trials: the number of pairs of releases that are compared.
    """

    users: int
    watched: int
    trials: int


FULL_SCALE = Scale(users=0, watched=100, trials=24)
QUICK_SCALE = Scale(users=60, watched=60, trials=24)


def mode_config(config: RunConfig, mode: str) -> RunConfig:
    """Return a run's config with another way of summing, or with noise in another place.

    Raises UserError for a mode that is not there.
    """
    way = _UNDER_NOISE[Place(mode)] if mode in PRIVATE else mode
    if way not in AGGREGATORS:
        known = (*AGGREGATORS.names(), *PRIVATE)
        raise UserError(f"audit: there is no mode {mode!r}; known are {', '.join(known)}")
    values: dict[str, Any] = config.model_dump() | AGGREGATORS.get(way).alone()
    values["secure"] |= {"simulated_dropout": 0.0, "mode": "full"}
    values["cohort"] = 1.0  # as with sampling below: who is watched takes part
    dp = values["dp"] or {"epsilon": WITHOUT_CLAIM, "clip_norm": 1.0, "subspace_rank": 64}
    if dp["epsilon"] == float("inf"):
        dp["epsilon"] = WITHOUT_CLAIM
    if config.dp is not None and config.dp.per_interaction:
        dp |= {"clip_norm": 1.0}  # the run's is that of an interaction
    dp |= {"unit": "user", "sampling": "everyone", "sampling_rate": 1.0, "clipping": "fixed",
           "noise": "simulation", "trust": mode if mode in PRIVATE else "central"}
    if not config.entry.can.public_subspace or config.algorithm.modalities == "none":
        dp["subspace_rank"] = 0
    values["dp"] = dp if mode in PRIVATE else None
    return RunConfig.model_validate(values)


def attack_mode(
    config: RunConfig, data: Dataset, mode: str, scale: Scale, seed: int
) -> dict[str, Any]:
    """Return the figures of one mode as JSON values; `skipped` says why it cannot be played.

    seed: the seed of everything that the attacks draw, the simulated noise included.
    """
    started = time.perf_counter()
    users = min(scale.users or data.num_users, data.num_users)
    try:
        played = Mode.of(mode_config(config, mode), data, users)
        if not played.algorithm.releases:
            return {"skipped": NOTHING_SENT}
        seen, blocks = watch(played, min(scale.watched, users), _noise(seed, 0))
        cells = _cells(mode, played, seen, blocks, scale, seed)
    except (UserError, RoundAborted, ValueError, MissingExtra) as error:
        return {"skipped": str(error)}
    if not cells:
        return {"skipped": "no attack applies: no release of the first round is a sum"}
    dp = played.config.dp
    return {
        "skipped": None, "users": users,
        "epsilon": dp.epsilon if dp else None,
        "delta": played.planned.budget.delta if played.planned.budget else None,
        "cells": cells, "features": swapped_features(played.config, data),
        "notes": _notes(played), "seconds": time.perf_counter() - started,
    }


def _noise(seed: int, trial: int) -> SimulationSource:
    """Noise for one release of the matrix; every release has its own."""
    return SimulationSource((seed * 1_000_003 + trial) % 2**62)


def _cells(
    mode: str, played: Mode, seen: Seen, blocks: Blocks, scale: Scale, seed: int
) -> list[dict[str, Any]]:
    dp, budget = played.config.dp, played.planned.budget
    there = stays = None
    # Under central noise the server is trusted with uploads; the claim is about the sums.
    trusted = dp is not None and dp.place.on_sum
    if dp is not None and budget is not None:
        # Replacing all that a user has is what local noise is claimed for.
        stays = Claim(budget.epsilon, budget.delta, present=not dp.place.alone)
        there = Claim(budget.epsilon, budget.delta, present=False)
    source = AuditSource(seed)

    def cell(name: str, view: str, attack: Attack, claim: Claim | None,
             chance: float = 0.5) -> dict[str, Any]:
        return _row(view, measure(mode, name, attack, source, claim, chance), claim)

    out = []
    if played.table is not None:
        truth = liked(played.data, np.arange(min(scale.watched, played.users)))
        if not trusted and seen.tables is not None:
            for name, attack in ((TOUCHED, touched_rows), (SIGNED, signed_rows),
                                 (GEOMETRY, row_geometry)):
                out.append(cell(name, "upload", attack(seen.tables, truth), stays))
        if played.table.kind == "sum":
            out += _from_sums(played, blocks, truth, scale, seed, cell, stays, there)
    elif played.first_sum is not None:
        # No release has a row an item: what is left is whether a user was there at all.
        watched = np.arange(min(scale.watched, played.users))
        own = own_tables(played, blocks, watched)
        pairs = _pairs(played, blocks, own, watched, scale, seed)
        out.append(_presence(pairs, own, scale, cell, there))
    group = None if trusted else _group_attack(seen)
    if group is not None:
        out.append(cell(GROUP, "upload", group, stays))
    return out


def _group_attack(seen: Seen) -> Attack | None:
    if seen.groups is None or len(np.unique(seen.groups)) < 2:
        return None
    if seen.sizes is None:
        return None if seen.slots is None else group_from_support(seen.slots, seen.groups)
    # Ciphertexts tell nothing but their length: colluders, every second client, give the scale.
    names, groups = np.unique(seen.groups, return_inverse=True)
    known = np.arange(len(groups)) % 2 == 0
    known |= ~np.isin(groups, groups[known])
    if known.all():
        return None
    return group_from_size(seen.sizes, groups, known, len(names))


def _from_sums(
    played: Mode, blocks: Blocks, truth: np.ndarray, scale: Scale, seed: int,
    cell: Callable[..., dict[str, Any]], stays: Claim | None, there: Claim | None,
) -> list[dict[str, Any]]:
    """Attacks on released tables: on one of all clients, and on pairs that differ by a client."""
    watched = np.arange(len(truth))
    own = own_tables(played, blocks, watched)
    whole = released(played, blocks, -1, _noise(seed, 1))
    # An item that its users like in part is pulled both ways: short rows in a sum of updates.
    short = whole.shape[1] > 1
    blind = np.stack([np.linalg.norm(whole - mine, axis=1) for mine in own])
    chance = Attack((-blind if short else blind).reshape(-1), truth.reshape(-1),
                    truth.reshape(-1), np.repeat(watched, truth.shape[1]))
    found = rows_in_sum(whole, np.zeros_like(whole), truth, shorter=short)
    popular = measure("", "", chance, AuditSource(seed)).auc.value
    out = [cell(SUM, "sum", found, stays, popular)]

    pairs = _pairs(played, blocks, own, watched, scale, seed)
    before, after = pairs.before, pairs.after
    joined, mine = np.flatnonzero(pairs.coins), truth[pairs.targets[pairs.coins]]
    change = after[joined] - before[joined]
    if stays is None:
        change[np.linalg.norm(change, axis=2) <= _rounding(played, own, whole.shape[1])] = 0
    out.append(cell(DIFFERENCE, "sum", signed_rows(change, mine) if short else
                    rows_in_difference(after[joined], before[joined], mine), stays))
    out.append(_presence(pairs, own, scale, cell, there))
    return out


@dataclass(frozen=True)
class _Pairs:
    """Pairs of releases [trials, *shape] of which the later has the target where its coin says."""

    before: np.ndarray
    after: np.ndarray
    targets: np.ndarray
    coins: np.ndarray


def _pairs(
    played: Mode, blocks: Blocks, own: np.ndarray, watched: np.ndarray, scale: Scale, seed: int
) -> _Pairs:
    """own: what each watched client adds to the sum; one that adds nothing is no target."""
    usable = watched[(own.reshape(len(own), -1) != 0).any(1)]
    if not len(usable):
        raise ValueError("no watched client adds anything to the sum")
    targets = np.resize(usable, scale.trials)
    coins = _balanced(scale.trials, seed)
    later, earlier = [], []
    for trial, (target, in_) in enumerate(zip(targets.tolist(), coins, strict=True)):
        earlier.append(released(played, blocks, target, _noise(seed, 2 + 2 * trial)))
        later.append(released(played, blocks, -1 if in_ else target, _noise(seed, 3 + 2 * trial)))
    return _Pairs(np.stack(earlier), np.stack(later), targets, coins)


def _presence(
    pairs: _Pairs, own: np.ndarray, scale: Scale, cell: Callable[..., dict[str, Any]],
    claim: Claim | None,
) -> dict[str, Any]:
    def flat(rows: np.ndarray) -> np.ndarray:
        return rows.reshape(scale.trials, -1)

    return cell(PRESENCE, "sum", presence(
        flat(pairs.after), flat(pairs.before), flat(own[pairs.targets]), pairs.coins), claim)


def _rounding(played: Mode, own: np.ndarray, width: int) -> float:
    """What rounding alone leaves in a row of the difference of two sums, at most.

    Stochastic rounding has a deviation of half a step at most a value; floats lose their last bits.
    """
    mechanism = played.summing.mechanism
    if mechanism is None or mechanism.quantise is None or played.table is None:
        return 1e-5 * float(np.abs(own).max())
    step = mechanism.quantise.step / mechanism.clip.weights[played.table.name]
    return step * (math.sqrt(played.users * width / 2) * 2 + 4)


def _balanced(trials: int, seed: int) -> np.ndarray:
    """Half of the trials, at random: the target takes part in the later release."""
    order = np.argsort(draw_directions(1, max(trials, 2), AuditSource(seed))[0][:trials])
    return order < trials // 2


def liked(data: Dataset, users: np.ndarray) -> np.ndarray:
    """Return the training interactions of users, bool [users, items]."""
    out = np.zeros((len(users), data.num_items), dtype=bool)
    for row, user in enumerate(users.tolist()):
        start, stop = data.train.indptr[user : user + 2]
        out[row, data.train.indices[start:stop]] = True
    return out


def swapped_features(config: RunConfig, data: Dataset) -> dict[str, Any]:
    """Return whether clients with a pin refuse a server that reverses the order of the items'
    features."""
    session = Session.start(config, data)
    if not session.algorithm.public_features:
        return {"refused": None, "why": "the method uses no item features"}
    features = {n: x[::-1].copy() for n, x in data.features.items()}
    lying = algorithm_of(config, replace(data, features=features), session.planned)
    try:
        run_round(lying, Simulator(session.pin), session.stack, session.state, session.clients,
                  data.num_users, 0)
    except FeaturesChangedError as error:
        return {"refused": True, "why": str(error),
                "released": len(session.stack.ledger.entries)}
    return {"refused": False, "why": "the clients trained with them",
            "released": len(session.stack.ledger.entries)}


def _row(view: str, cell: Cell, claim: Claim | None) -> dict[str, Any]:
    def three(found: Any) -> list[float]:
        return [found.value, found.low, found.high]

    return {
        "attack": cell.attack, "view": view, "auc": three(cell.auc),
        "precision": three(cell.decided.precision), "recall": three(cell.decided.recall),
        "f1": three(cell.decided.f1), "chance_auc": cell.chance_auc, "chance_f1": cell.chance_f1,
        "bound_auc": cell.bound if claim else None,
        "within_bound": bool(cell.auc.low <= max(cell.bound, cell.chance_auc)) if claim else None,
    }


def _notes(played: Mode) -> Mapping[str, str]:
    out, dp = {}, played.config.dp
    if dp is not None and dp.place.on_sum:
        out["upload"] = ("the server is trusted: it reads uploads as in plain mode, and the claim "
                         "is about what it releases")
    if played.config.is_secure:
        out["sum"] = ("sums are made without masks here, the same integers bit for bit; uploads "
                      "are read from the full protocol")
    if played.table is None:
        out["table"] = ("no release is declared a table of items (Role.ITEM_TABLE), so attacks on "
                        "its rows were not tried: where one is, they may win")
    if dp is not None:
        out["bound"] = ("of the whole run's epsilon and delta; an attack sees one release of each "
                        "user and has less")
    return out
