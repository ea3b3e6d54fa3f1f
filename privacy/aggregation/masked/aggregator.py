"""Masked summing as an aggregator: all parties of a round in one process."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np

from privacy.aggregation.masked.graph import choose_degree
from privacy.aggregation.masked.loop import MaskedRound
from privacy.aggregation.masked.terms import RoundTerms
from privacy.aggregation.messages import Transcript
from privacy.aggregation.protocol import Session, Sums, Task, dims, flattened, split
from privacy.crypto.keys import Directory, Identity
from privacy.crypto.prg import MaskStream
from privacy.uploads import UploadError, Uploads


@dataclass
class MaskedAggregator:
    """The server learns the sum of the survivors' integers, and nothing else of their values.

    dropout, colluding, failure_bits: what the graph of masks is planned for (`choose_degree`).
    transcript: told every message; None: sizes alone are counted.
    """

    dropout: float
    colluding: float
    failure_bits: float
    transcript: Transcript | None = None
    name: str = "masked"
    server_sees: str = (
        "the sum over the clients whose masked vector arrived, who they are, and vectors of full "
        "length that are uniformly random to it; holds against a server that reads everything and "
        "tells all clients the same")
    hides_clients: bool = True
    _run: bytes = field(default_factory=lambda: os.urandom(16), repr=False)
    _identities: dict[int, Identity] = field(default_factory=dict, repr=False)
    _streams: dict[int, MaskStream] = field(default_factory=dict, repr=False)

    def graph(self, clients: int) -> tuple[int, int]:
        """Neighbours of a client and the threshold of shares.

        Where a cohort is too small for the planned chance of failure: the complete graph and a
        majority, which hold for certain up to as many dropouts or colluders as it says.
        """
        try:
            return choose_degree(clients, self.dropout, self.colluding, self.failure_bits)
        except ValueError:
            return clients - 1, max((clients - 1) // 2 + 1, 2)

    def open(self, task: Task) -> Session:
        """Keys and shares of all clients, before any of them trains.

        Raises ProtocolError for a cohort of fewer than 3 clients.
        """
        cohort = tuple(task.cohort.ids.tolist())
        for number in cohort:
            if number not in self._identities:
                self._identities[number] = Identity.generate(number)
        size = dims(task.releases)
        stream = self._streams.setdefault(size, MaskStream(size))
        degree, threshold = self.graph(len(cohort))
        terms = RoundTerms(
            self._run, task.cohort.round, task.attempt, cohort, size, degree, threshold,
            max(task.min_survivors, 2), task.model_hash or b"none")
        identities = {number: self._identities[number] for number in cohort}
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
        # Two's complement: the ring of 2^32, whose upper half stands for negative numbers.
        vectors = flattened(uploads, self._task.releases).astype(np.int32).view(np.uint32)
        self._round.submit(ids, vectors)

    def close(self) -> Sums:
        result = self._round.close()
        total = result.total.view(np.int32).astype(np.int64)
        return Sums(
            split(total, self._task.releases), {}, sum(result.bytes_up.values()),
            len(result.survivors), sum(result.bytes_down.values()),
            {"masking_clients": result.seconds_of("client"),
             "masking_server": result.seconds_of("server")},
        )
