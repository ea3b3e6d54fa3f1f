"""Two ways for one upload: updates and group statistics may travel under different protocols."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from privacy.aggregation.protocol import Aggregator, Session, Sums, Task
from privacy.uploads import Uploads


@dataclass(frozen=True)
class RoutedAggregator:
    """Sends releases marked as statistics through one aggregator, all others through another."""

    updates: Aggregator
    statistics: Aggregator

    @property
    def name(self) -> str:
        return f"updates {self.updates.name}, group statistics {self.statistics.name}"

    @property
    def server_sees(self) -> str:
        return (f"of updates {self.updates.server_sees}; of group statistics "
                f"{self.statistics.server_sees}")

    @property
    def hides_clients(self) -> bool:
        return self.updates.hides_clients and self.statistics.hides_clients

    def open(self, task: Task) -> Session:
        """One session a protocol that has something to carry."""
        sessions = {}
        for statistic, aggregator in ((False, self.updates), (True, self.statistics)):
            releases = tuple(r for r in task.releases if r.statistic == statistic)
            if releases:
                session = aggregator.open(replace(task, releases=releases))
                sessions[tuple(r.name for r in releases)] = session
        return _RoutedSession(sessions)


class _RoutedSession:
    def __init__(self, sessions: dict[tuple[str, ...], Session]) -> None:
        self._sessions = sessions

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        for names, session in self._sessions.items():
            session.submit(ids, {name: uploads[name] for name in names})

    def close(self) -> Sums:
        return merged([session.close() for session in self._sessions.values()])


def merged(parts: Sequence[Sums]) -> Sums:
    """The sums of protocols that carried different releases of one round."""
    seconds: Counter[str] = Counter()
    for part in parts:
        seconds.update(part.seconds)
    return Sums(
        {n: x for part in parts for n, x in part.sums.items()},
        {n: x for part in parts for n, x in part.individual.items()},
        sum(part.bytes_up for part in parts),
        min(part.survivors for part in parts),
        sum(part.bytes_down for part in parts),
        dict(seconds),
        frozenset().union(*(part.noised for part in parts)),
    )
