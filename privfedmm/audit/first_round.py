"""One round of a configuration, with what its server saw of chosen clients."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from privacy import Aggregator, Release, Role, Task, Uploads
from privacy.aggregation.encrypted.bodies import UPLOAD
from privacy.aggregation.intercept import Tap, TappedAggregator
from privacy.aggregation.messages import SERVER, Message, Transcript
from privfedmm.config import RunConfig
from privfedmm.data import Dataset
from privfedmm.federation import Simulator
from privfedmm.mechanisms.aggregators import AGGREGATORS
from privfedmm.runs.session import Session

TABLES = (Role.ITEM_TABLE, Role.ITEM_COUNTS)  # roles of releases with a row an item


def table_of(releases: Iterable[Release]) -> Release | None:
    """Return the first release with a row an item, found by its role; None where there is none."""
    return next((r for r in releases if r.role in TABLES), None)


@dataclass(frozen=True)
class FirstRound:
    """This is one round, with what its server saw of the watched clients.

    sums: a map from release to its total before the server makes anything of it. watched [w]: the
    clients whose uploads the server's view is given for. seen [w, items, width]: their item tables
    as the server received them, the ring read as signed integers where they were masked; None where
    there is nothing to read, for the reason `unseen`. rounding_bound: the largest error that
    rounding to the grid can leave in a sum, None off the grid. messages: a map from kind of message
    to number and bytes.
    """

    sums: Mapping[str, Tensor]
    watched: np.ndarray
    seen: np.ndarray | None
    unseen: str
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
    transcript = Watcher(config)
    session = Session.start(config, data, None, transcript)
    found = table_of(session.stack.releases)
    plain = Observed(watched, (found.name,) if found else ())
    hidden = session.stack.aggregator.hides_clients
    stack = session.stack
    if watched and not hidden:
        stack = replace(stack, aggregator=plain.of(stack.aggregator))
    cohort = stack.draw(data.num_users, 0)
    transcript.chosen = frozenset(cohort.ids[:watched].tolist())
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
    table = table_of(active)
    seen, ids = None, cohort.ids[:watched]
    if watched and table is not None:
        seen = plain.seen(ids, table) if not hidden else transcript.seen(
            way_of(config, table), ids, _offset(config, active, table), table.shape)
    unseen = ("no release of this method carries a table of items" if table is None
              else "nothing that the server receives holds a client's vector")
    return FirstRound(
        totals, ids, seen, unseen, sums.survivors, seconds, costs.bytes_up_per_client,
        costs.bytes_down_per_client, bound, transcript.counts())


def way_of(config: RunConfig, release: Release) -> str:
    """Return the way of summing that carries a release."""
    return config.statistics_way if release.statistic else config.aggregation


def _offset(config: RunConfig, active: list[Release], table: Release) -> int:
    """Where a table begins in the vector that its way of summing carries."""
    split = config.statistics_way != config.aggregation
    before = 0
    for release in active:
        if release.name == table.name:
            break
        if not (split and release.statistic != table.statistic):
            before += math.prod(release.shape)
    return before


class Watcher(Transcript):
    """This transcript keeps the vectors of chosen clients that a run's ways of summing let be read,
    and the sizes of all messages.

    uploaded: the bytes of the encrypted upload of each client in the last round that had one.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__(keep_bodies=False)
        self.chosen: frozenset[int] = frozenset()
        self.uploaded: dict[int, int] = {}
        self._ways = {way: AGGREGATORS.get(way)
                      for way in (config.aggregation, config.statistics_way)}
        self._vectors: dict[tuple[str, int], np.ndarray] = {}
        self._counts: dict[str, list[int]] = {}

    def record(self, message: Message) -> None:
        """Note a message on its way."""
        tally = self._counts.setdefault(message.kind, [0, 0])
        tally[0] += 1
        tally[1] += message.nbytes()
        if message.receiver != SERVER:
            return
        if message.kind == UPLOAD:
            self.uploaded[message.sender] = message.nbytes()
        if message.sender in self.chosen:
            for way, entry in self._ways.items():
                vector = entry.vector(message)
                if vector is not None:
                    self._vectors[way, message.sender] = vector

    def seen(
        self, way: str, ids: np.ndarray, offset: int, shape: tuple[int, ...]
    ) -> np.ndarray | None:
        """Return the part of each vector that stands for a table [w, *shape], as a way of summing
        carried it; None where its messages do not tell."""
        held = [self._vectors.get((way, i)) for i in ids.tolist()]
        size = math.prod(shape)
        rows = [row[offset : offset + size].reshape(shape) for row in held if row is not None]
        return np.stack(rows) if rows and len(rows) == len(held) else None

    def counts(self) -> dict[str, dict[str, int]]:
        """Return a map from kind of message to number and bytes."""
        return {k: {"messages": n, "bytes": size} for k, (n, size) in self._counts.items()}


@dataclass(frozen=True)
class Observed:
    """This keeps the server's copy of some clients' uploads beside a plain aggregator."""

    clients: int
    names: tuple[str, ...]
    kept: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)

    def of(self, aggregator: Aggregator) -> Aggregator:
        """Return the aggregator with the tap that keeps the copies."""
        return TappedAggregator(aggregator, self._attach)

    def seen(self, ids: np.ndarray, table: Release) -> np.ndarray:
        """Return the tables that clients sent, [ids, *shape]."""
        return np.stack([self.kept[i][table.name] for i in ids.tolist()])

    def _attach(self, task: Task) -> Tap:
        watched = set(task.cohort.ids[: self.clients].tolist())

        def keep(ids: np.ndarray, uploads: Uploads) -> Uploads:
            chosen = [(place, i) for place, i in enumerate(ids.tolist()) if i in watched]
            if chosen:
                rows = {n: p.dense().numpy() for n, p in uploads.items() if n in self.names}
                self.kept.update(
                    {i: {n: x[place].copy() for n, x in rows.items()} for place, i in chosen})
            return uploads

        return keep
