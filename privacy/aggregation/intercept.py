"""An aggregator with a tap on what it is given: to watch it, or to tamper with it, in an audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from privacy.aggregator import Aggregator, Coalition, Session, Sums, Task
from privacy.uploads import Uploads

Tap = Callable[[np.ndarray, Uploads], Uploads]


@dataclass(frozen=True)
class TappedAggregator:
    """Pass every block through the tap that `attach` gives for the round, then to `inner`."""

    inner: Aggregator
    attach: Callable[[Task], Tap]

    @property
    def name(self) -> str:
        """Return the name of `inner`."""
        return self.inner.name

    @property
    def server_sees(self) -> str:
        """Return what the server sees under `inner`; the tap is no party of the protocol."""
        return self.inner.server_sees

    @property
    def hides_clients(self) -> bool:
        """Tell whether `inner` hides clients."""
        return self.inner.hides_clients

    def coalitions(self, clients: int) -> Sequence[Coalition]:
        """Return the table of `inner`."""
        return self.inner.coalitions(clients)

    def open(self, task: Task) -> Session:
        """Return a session of `inner` behind the tap."""
        return _TappedSession(self.inner.open(task), self.attach(task))


@dataclass(frozen=True)
class _TappedSession:
    inner: Session
    tap: Tap

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        self.inner.submit(ids, self.tap(ids, uploads))

    def close(self) -> Sums:
        return self.inner.close()
