"""Masked summing as an aggregator: all parties of a round in one process."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np

from privacy.aggregation.masked.coalitions import coalitions_of
from privacy.aggregation.masked.mask_plan import MaskPlan
from privacy.aggregation.masked.terms import BEACON_BYTES
from privacy.aggregation.masked.tolerance import Tolerance
from privacy.aggregation.messages import Transcript
from privacy.aggregation.ring import from_ring, to_ring
from privacy.aggregation.simulated.masked_round import MaskedRound
from privacy.aggregator import Coalition, Session, Sums, Task, flattened, split
from privacy.crypto.keys import Directory, Identity
from privacy.crypto.prg import MaskStream
from privacy.uploads import UploadError, Uploads

_SEES = (
    "the sum over the clients whose masked vector arrived, who they are, and vectors of full "
    "length that are uniformly random to it; ")
_ACTIVE = "holds against a server that may tell every client something else"
_SEMI_HONEST = "holds against a server that reads everything and tells all clients the same"


@dataclass
class MaskedAggregator:
    """Let the server learn the sum of the survivors' integers, and nothing else of their values.

    tolerance: whom the sums are to hold against, and how many dropouts they are to bear.
    transcript: told every message; None: sizes alone are counted.
    """

    tolerance: Tolerance = field(default_factory=Tolerance)
    transcript: Transcript | None = None
    name: str = "masked"
    hides_clients: bool = True
    _run: bytes = field(default_factory=lambda: os.urandom(16), repr=False)
    _beacon: bytes = field(default_factory=lambda: os.urandom(BEACON_BYTES), repr=False)
    _identities: dict[int, Identity] = field(default_factory=dict, repr=False)
    _streams: dict[int, MaskStream] = field(default_factory=dict, repr=False)

    @property
    def server_sees(self) -> str:
        """Say what the server learns of a single client, and against which server that holds."""
        return _SEES + (_ACTIVE if self.tolerance.active_server else _SEMI_HONEST)

    def coalitions(self, clients: int) -> tuple[Coalition, ...]:
        """Return who must conspire to read one client, as `coalitions_of`."""
        return coalitions_of(self.tolerance, clients)

    def open(self, task: Task) -> Session:
        """Make keys and shares of all clients, before any of them trains.

        Raises ProtocolError for a cohort of fewer than 3 clients.
        """
        # An empty hash would stand for a plan that is still to come, and here none does.
        # All parties are in this process: drawing the beacon here is what they would do together.
        plan = MaskPlan(self._run, self.tolerance, self._beacon)
        terms = plan.terms(task, task.plan_hash or b"none")
        for number in terms.cohort:
            if number not in self._identities:
                self._identities[number] = Identity.generate(number)
        stream = self._streams.setdefault(terms.dims, MaskStream(terms.dims))
        identities = {number: self._identities[number] for number in terms.cohort}
        round_ = MaskedRound(
            terms, identities, Directory.of(identities.values()), task.dropouts, self.transcript,
            stream)
        round_.open()
        return _MaskedSession(task, round_)


class _MaskedSession:
    def __init__(self, task: Task, round_: MaskedRound) -> None:
        self._task, self._round = task, round_

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        if not np.isin(ids, self._task.cohort.ids).all():
            raise UploadError("an upload came from a client outside the cohort")
        self._round.submit(ids, to_ring(flattened(uploads, self._task.releases)))

    def close(self) -> Sums:
        result = self._round.close()
        return Sums(
            split(from_ring(result.total), self._task.releases), {}, sum(result.bytes_up.values()),
            len(result.survivors), sum(result.bytes_down.values()),
            {"masking_clients": result.seconds_of("client"),
             "masking_server": result.seconds_of("server")},
        )
