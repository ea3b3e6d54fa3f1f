"""Two ways for one upload: updates and group statistics may travel under different protocols."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from privacy.aggregation.routes import by_route, merged
from privacy.aggregator import Aggregator, Coalition, Session, Sums, Task
from privacy.uploads import Uploads


@dataclass(frozen=True)
class RoutedAggregator:
    """Send releases marked as statistics through one aggregator, all others through another."""

    updates: Aggregator
    statistics: Aggregator

    @property
    def name(self) -> str:
        """Return both names, with what each carries."""
        return f"updates {self.updates.name}, group statistics {self.statistics.name}"

    @property
    def server_sees(self) -> str:
        """Say what the server learns of updates, then what it learns of group statistics."""
        return (f"of updates {self.updates.server_sees}; of group statistics "
                f"{self.statistics.server_sees}")

    def coalitions(self, clients: int) -> tuple[Coalition, ...]:
        """Return the tables of both, each row with what it carries."""
        return tuple(
            Coalition(f"{what}: {row.who}", row.reads)
            for what, way in (("updates", self.updates), ("group statistics", self.statistics))
            for row in way.coalitions(clients))

    @property
    def hides_clients(self) -> bool:
        """Tell whether both hide clients."""
        return self.updates.hides_clients and self.statistics.hides_clients

    def open(self, task: Task) -> Session:
        """Open one session a protocol that has something to carry."""
        sessions = {}
        for statistic, part in by_route(task):
            aggregator = self.statistics if statistic else self.updates
            sessions[tuple(r.name for r in part.releases)] = aggregator.open(part)
        return _RoutedSession(sessions)


class _RoutedSession:
    def __init__(self, sessions: dict[tuple[str, ...], Session]) -> None:
        self._sessions = sessions

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        for names, session in self._sessions.items():
            session.submit(ids, {name: uploads[name] for name in names})

    def close(self) -> Sums:
        return merged([session.close() for session in self._sessions.values()])
