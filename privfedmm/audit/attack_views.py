"""What the adversary of a mode has in its hands: uploads as they arrive, and released sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from privacy import (
    Cohort,
    Ledger,
    Mechanism,
    PrivacyStack,
    Release,
    Role,
    SimulationSource,
    Uploads,
)
from privfedmm.assemble import assemble, plan_of
from privfedmm.audit.empirical import ring
from privfedmm.audit.first_round import Observed, Watcher, table_of, way_of
from privfedmm.config import RunConfig
from privfedmm.data import Dataset
from privfedmm.federation import Algorithm
from privfedmm.mechanisms.aggregators import AGGREGATORS
from privfedmm.privacy_plan.plan import PrivacyPlan

Blocks = list[tuple[np.ndarray, Uploads]]


@dataclass(frozen=True)
class Seen:
    """This is what the server receives of the watched clients 0..w-1.

    tables [w, items, width]: their item tables; masked ones are the ring's signed integers. slots
    [w, K, values]: what each client sent in the slots of groups. sizes [w]: the bytes of what
    travels encrypted. groups [w]: the groups that the clients are in. Each is None where it is not
    there, or not visible.
    """

    tables: np.ndarray | None
    slots: np.ndarray | None
    sizes: np.ndarray | None
    groups: np.ndarray | None


@dataclass(frozen=True)
class Mode:
    """This is a configuration for clients 0..users-1 of the data, ready to be played.

    summing: its stack with the sums of secure aggregation made without masks, the same bit for bit.
    """

    config: RunConfig
    data: Dataset
    users: int
    planned: PrivacyPlan
    algorithm: Algorithm
    summing: PrivacyStack

    @classmethod
    def of(cls, config: RunConfig, data: Dataset, users: int) -> Mode:
        """Prepare a configuration. Raises UserError for settings that do not fit."""
        planned = plan_of(config, data, users)
        parts = assemble(ring(config), data, planned=planned, population=users, budget=False)
        return cls(config, data, users, planned, parts.algorithm, parts.stack)

    def protocol(self, source: SimulationSource, transcript: Watcher) -> PrivacyStack:
        """Return the mode's stack with keys, masks and ciphertexts really made.

        source: the source of its noise. transcript: is told every message.
        """
        made = assemble(self.config, self.data, planned=self.planned, population=self.users,
                        transcript=transcript, budget=False)
        return replace(made.stack, source=source)

    @property
    def table(self) -> Release | None:
        """Return the release with a row an item, None where there is none."""
        return table_of(self.algorithm.releases)

    @property
    def first_sum(self) -> Release | None:
        """Return the table where it is a sum, else another sum of the first round, None without
        any."""
        return self.table if self.table and self.table.kind == "sum" else next(
            (r for r in self.algorithm.releases if r.kind == "sum" and r.in_round(0)), None)


def watch(mode: Mode, watched: int, source: SimulationSource) -> tuple[Seen, Blocks]:
    """Play the rounds in which something new is sent. Return what the server saw, and the uploads
    of the first round before the gate.

    Raises UserError or RoundAborted where the mode cannot be played.
    """
    algorithm, transcript = mode.algorithm, Watcher(mode.config)
    stack = mode.protocol(source, transcript)
    names = tuple(r.name for r in stack.releases)
    plain = Observed(watched, names)
    hidden = stack.aggregator.hides_clients
    used = stack if hidden else replace(stack, aggregator=plain.of(stack.aggregator))
    state, clients = algorithm.initial_state(), algorithm.initial_clients()
    transcript.chosen = frozenset(range(watched))
    first: Blocks = []
    tables = slots = sizes = groups = None
    for round_ in range(1 + max((r.first for r in stack.releases), default=0)):
        cohort, plan = used.draw(mode.users, round_), algorithm.plan(state)
        gate = used.open(cohort, algorithm.plan_hash(plan) if hidden else b"")
        blocks = [(ids, algorithm.local(plan, ids, clients)[0])
                  for ids in algorithm.blocks(cohort.ids)]
        for ids, uploads in blocks:
            gate.submit(ids, uploads)
        totals, _ = used.finish(gate.close(), cohort, mode.users)
        state = algorithm.step(state, totals)
        first = first or blocks
        active = [r for r in stack.releases if r.in_round(round_)]
        look = _Look(mode.config, stack, active, transcript if hidden else plain, watched)
        if mode.table in active and mode.table is not None:
            tables = look.table(mode.table)
        statistic = [r for r in active if r.statistic]
        if statistic:
            groups = next((groups_of(blocks, watched, r.name) for r in active
                           if r.role is Role.GROUP_MEMBERSHIP), None)
            slots = look.slots(statistic)
            if AGGREGATORS.get(mode.config.statistics_way).key_holder:
                sizes = np.array([transcript.uploaded[i] for i in range(watched)])
    return Seen(tables, slots, sizes, groups), first


@dataclass(frozen=True)
class _Look:
    """Reads releases of watched clients out of what the server received in a round."""

    config: RunConfig
    stack: PrivacyStack
    active: Sequence[Release]
    kept: Watcher | Observed
    watched: int

    def rows(self, release: Release) -> np.ndarray | None:
        """Return the rows of a release [w, *shape as it leaves the device], None where nothing at
        the server tells them."""
        ids = np.arange(self.watched)
        if isinstance(self.kept, Observed):
            return self.kept.seen(ids, release)
        return self.kept.seen(
            way_of(self.config, release), ids, self._offset(release), self._shape(release))

    def table(self, release: Release) -> np.ndarray | None:
        """Return the item tables [w, items, width]; the public basis brings a projected table back
        to items.

        It is None where nothing at the server tells them.
        """
        found = self.rows(release)
        if found is None:
            return None
        rows = torch.from_numpy(np.asarray(found, dtype=np.float32))
        return expanded(self.stack.mechanism, release.name, rows).numpy()

    def slots(self, releases: Sequence[Release]) -> np.ndarray | None:
        """Return the values in slots [w, K, values], with all releases by group side by side.

        It is None where nothing at the server tells them.
        """
        parts = [rows for r in releases if (rows := self.rows(r)) is not None]
        if len(parts) < len(releases):
            return None
        return np.concatenate(
            [p.reshape(self.watched, releases[0].shape[0], -1) for p in parts], axis=2)

    def _shape(self, release: Release) -> tuple[int, ...]:
        mechanism = self.stack.mechanism
        return mechanism.shape(release) if mechanism else release.shape

    def _offset(self, release: Release) -> int:
        """Where a release begins in the vector that its way of summing carries."""
        split = self.config.statistics_way != self.config.aggregation
        before = self.active[: list(self.active).index(release)]
        return sum(math.prod(self._shape(r)) for r in before
                   if not (split and r.statistic != release.statistic))


def groups_of(blocks: Blocks, watched: int, membership: str) -> np.ndarray | None:
    """Return the group that each of clients 0..w-1 names in its upload [w]; None without groups.

    membership: the name of the release that a client places in its group's slot.
    """
    out = np.full(watched, -1)
    for ids, uploads in blocks:
        if membership not in uploads:
            return None
        rows = uploads[membership].dense().flatten(1).argmax(1).numpy()
        near = ids < watched
        out[ids[near]] = rows[near]
    return out


def expanded(mechanism: Mechanism | None, name: str, rows: Tensor) -> Tensor:
    """Bring rows [clients, r, width] back to [clients, items, width] where the mechanism
    projects."""
    if mechanism is None or mechanism.project is None or name not in mechanism.project.bases:
        return rows
    return torch.einsum("ir,mrw->miw", mechanism.project.bases[name].to(rows.dtype), rows)


def own_tables(mode: Mode, blocks: Blocks, targets: np.ndarray) -> np.ndarray:
    """Return what each target's upload adds to the released sum, without noise: [k, *shape], of a
    table [k, items, width]."""
    assert mode.first_sum is not None
    mechanism, name = mode.summing.mechanism, mode.first_sum.name
    out: dict[int, np.ndarray] = {}
    for ids, uploads in blocks:
        places = np.flatnonzero(np.isin(ids, targets))
        if not len(places):
            continue
        pick = torch.from_numpy(places)
        mine: Uploads = {n: p.rows(pick) for n, p in uploads.items()}
        if mechanism is not None:
            if mechanism.project:
                mine = mechanism.project.apply(mine)
            mine = mechanism.clip.apply(mine).uploads
        rows = expanded(mechanism, name, mine[name].dense()).numpy()
        out.update(zip(ids[places].tolist(), rows, strict=True))
    return np.stack([out[t] for t in targets.tolist()])


def released(mode: Mode, blocks: Blocks, absent: int, source: SimulationSource) -> np.ndarray:
    """Return the released sum of the first round, of a table [items, width].

    absent: the client that sends zeros, -1 for nobody. Gate, sum and noise are the mode's own, with
    a new ledger; the sums of secure aggregation are made without masks, which changes no bit of
    them.
    """
    assert mode.first_sum is not None
    stack = replace(mode.summing, ledger=Ledger(), source=source)
    cohort: Cohort = stack.draw(mode.users, 0)
    gate = stack.open(cohort)
    for ids, uploads in blocks:
        if absent in ids:
            keep = torch.from_numpy((ids != absent).astype(np.float32))
            uploads = {n: p.scaled(keep) for n, p in uploads.items()}
        gate.submit(ids, uploads)
    totals, _ = stack.finish(gate.close(), cohort, mode.users)
    return totals.sums[mode.first_sum.name].numpy()
