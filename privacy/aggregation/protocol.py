"""The interface of an aggregator: blocks of uploads go in, sums over the cohort come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from privacy.sampling import Cohort
from privacy.uploads import Collected, Release, Uploads


@dataclass(frozen=True)
class Sums:
    """What the server holds after a round.

    sums: release name -> sum over the cohort, [*shape]. individual: release name -> every
    client's own vector, with its sender. bytes_up: bytes sent by all clients.
    """

    sums: Mapping[str, Tensor]
    individual: Mapping[str, Collected]
    bytes_up: int


class Session(Protocol):
    """One round of an aggregator."""

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        """Take the uploads of a block of clients, ids [block]."""
        ...

    def close(self) -> Sums:
        """The sums. Raises UploadError where a client of the cohort sent nothing."""
        ...


class Aggregator(Protocol):
    """Opens a session a round, and says what the server sees of a client."""

    @property
    def name(self) -> str:
        """Name in configs and records."""
        ...

    @property
    def server_sees(self) -> str:
        """One sentence: what the server learns of a single client."""
        ...

    def open(self, cohort: Cohort, releases: Sequence[Release]) -> Session:
        """Start a round for a cohort and its declared releases."""
        ...
