"""One round of a configuration, with what its server saw of chosen clients."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from experiments.config import RunConfig
from experiments.session import Session
from privacy import Aggregator, Release, Sums, Task, Uploads
from privacy import Session as Round
from privacy.aggregation.masked.wire import MASKED, vector_of
from privacy.aggregation.messages import SERVER, Transcript
from privfedmm.data import Dataset
from privfedmm.federation import Simulator


@dataclass(frozen=True)
class FirstRound:
    """sums: release -> total before anything is made of it. watched [w]: clients whose uploads the
    server's view is given for. seen [w, items, width]: their item tables as the server received
    them, the ring read as signed integers where they were masked; None without such a release.
    rounding_bound: largest error that rounding to the grid can leave in a sum, None off the grid.
    messages: kind -> number and bytes.
    """

    sums: Mapping[str, Tensor]
    watched: np.ndarray
    seen: np.ndarray | None
    survivors: int
    seconds: float
    bytes_up: float
    bytes_down: float
    rounding_bound: float | None
    messages: Mapping[str, Any]


def first_round(config: RunConfig, data: Dataset, watched: int) -> FirstRound:
    """Play one round from the start, without a ledger on disk; the server watches some clients.

    Raises RoundAborted where too many vanish.
    """
    transcript = _Watcher(watched)
    session = Session.start(config, data, None, transcript)
    plain = _Observed(session.stack.aggregator, watched)
    hidden = session.stack.aggregator.hides_clients
    stack = session.stack if hidden or not watched else replace(session.stack, aggregator=plain)
    cohort = stack.draw(data.num_users, 0)
    started = time.perf_counter()
    plan = session.algorithm.plan(session.state)
    sums, costs = Simulator().gather(session.algorithm, plan, session.clients, cohort, stack)
    seconds = time.perf_counter() - started
    mechanism, bound = stack.mechanism, None
    totals = dict(sums.sums)
    if mechanism and mechanism.quantise:
        totals = mechanism.quantise.decode(totals, mechanism.clip.weights)
        lightest = min(mechanism.clip.weights.values())
        bound = sums.survivors * mechanism.quantise.step / lightest
    if mechanism and mechanism.project:
        totals = mechanism.project.expand(totals)
    active = [r for r in stack.releases if r.in_round(0)]
    table = next((r for r in active if r.name in ("item_update", "item_counts")), None)
    seen, ids = None, cohort.ids[:watched]
    if watched and table is not None:
        seen = plain.seen(ids, table) if not hidden else transcript.seen(
            ids, _offset(config, active, table), table.shape)
    return FirstRound(
        totals, ids, seen, sums.survivors, seconds, costs.bytes_up_per_client,
        costs.bytes_down_per_client, bound, transcript.counts())


def _offset(config: RunConfig, active: list[Release], table: Release) -> int:
    """Where a table begins in the vector that the masked protocol carries."""
    split = config.statistics_way != config.aggregation
    before = 0
    for release in active:
        if release.name == table.name:
            break
        if not (split and release.statistic != table.statistic):
            before += math.prod(release.shape)
    return before


class _Watcher(Transcript):
    """Keeps the masked vectors of the first clients, and of all others the sizes alone."""

    def __init__(self, clients: int) -> None:
        super().__init__(keep_bodies=False)
        self._clients = clients
        self._vectors: dict[int, np.ndarray] = {}
        self._counts: dict[str, list[int]] = {}

    def record(self, message: Any) -> None:
        tally = self._counts.setdefault(message.kind, [0, 0])
        tally[0] += 1
        tally[1] += message.nbytes()
        if (message.kind == MASKED and message.receiver == SERVER
                and len(self._vectors) < self._clients):
            self._vectors[message.sender] = vector_of(message.body).view(np.int32)

    def seen(self, ids: np.ndarray, offset: int, shape: tuple[int, ...]) -> np.ndarray:
        """The part of each vector that stands for a table."""
        size = math.prod(shape)
        return np.stack([self._vectors[i][offset : offset + size].reshape(shape)
                         for i in ids.tolist()])

    def counts(self) -> dict[str, dict[str, int]]:
        """Kind -> messages and bytes."""
        return {k: {"messages": n, "bytes": size} for k, (n, size) in self._counts.items()}


@dataclass
class _Observed:
    """A plain aggregator beside which the server's copy of some uploads is kept."""

    inner: Aggregator
    clients: int
    kept: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def server_sees(self) -> str:
        return self.inner.server_sees

    @property
    def hides_clients(self) -> bool:
        return False

    def open(self, task: Task) -> Round:
        chosen = set(task.cohort.ids[: self.clients].tolist())
        return _ObservedSession(self.inner.open(task), chosen, self.kept)

    def seen(self, ids: np.ndarray, table: Release) -> np.ndarray:
        """The tables that clients sent, [ids, *shape]."""
        return np.stack([self.kept[i][table.name] for i in ids.tolist()])


@dataclass(frozen=True)
class _ObservedSession:
    inner: Round
    chosen: set[int]
    kept: dict[int, dict[str, np.ndarray]]

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        self.inner.submit(ids, uploads)
        for place, client in enumerate(ids.tolist()):
            if client in self.chosen:
                self.kept[client] = {
                    name: part.dense()[place].numpy()
                    for name, part in uploads.items() if name in ("item_update", "item_counts")}

    def close(self) -> Sums:
        return self.inner.close()
