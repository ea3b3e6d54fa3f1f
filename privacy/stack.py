"""The privacy stack: the one gate through which anything leaves a client, and its bookkeeping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from privacy.aggregation.plain import PlainAggregator
from privacy.aggregation.protocol import Aggregator, Session, Sums
from privacy.ledger import Entry, Ledger
from privacy.sampling import Cohort, Everyone, Sampling
from privacy.uploads import Collected, Release, UploadError, Uploads


@dataclass(frozen=True)
class Totals:
    """What the algorithm may compute on: sums by release name, the individual releases, the cohort.

    cohort: the public number of clients that every average is divided by.
    """

    sums: Mapping[str, Tensor]
    individual: Mapping[str, Collected]
    cohort: int


@dataclass(frozen=True)
class PrivacyStack:
    """Declared releases, who takes part, how uploads are brought together, and the ledger."""

    releases: tuple[Release, ...]
    ledger: Ledger
    sampling: Sampling = field(default_factory=Everyone)
    aggregator: Aggregator = field(default_factory=PlainAggregator)

    def __post_init__(self) -> None:
        names = [release.name for release in self.releases]
        if len(set(names)) != len(names):
            raise ValueError(f"release names must be unique, got {names}")

    def open(self, cohort: Cohort) -> Gate:
        """The gate of one round."""
        return Gate(self.releases, self.aggregator.open(cohort, self.releases))

    def finish(self, sums: Sums, cohort: Cohort) -> tuple[Totals, tuple[Entry, ...]]:
        """Charge the round's releases, then hand the totals out.

        Without a noise step every release is charged as NonPrivate: no finite epsilon follows.
        """
        entries = tuple(
            self.ledger.charge(
                round_=cohort.round,
                name=release.name,
                event="NonPrivate",
                noise_multiplier=None,
                clip_norm=None,
                sampling_rate=self.sampling.rate,
                cohort=len(cohort.ids),
            )
            for release in self.releases
        )
        return Totals(sums.sums, sums.individual, len(cohort.ids)), entries


class Gate:
    """Takes uploads of blocks of clients; refuses what was not declared."""

    def __init__(self, releases: Sequence[Release], session: Session) -> None:
        self._releases = {release.name: release for release in releases}
        self._session = session

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        """Pass a block on. Raises UploadError for an undeclared, misshapen or non-finite part."""
        if uploads.keys() != self._releases.keys():
            odd = sorted(uploads.keys() ^ self._releases.keys())
            raise UploadError(f"uploads and declared releases differ in {', '.join(odd)}")
        for name, part in uploads.items():
            declared = self._releases[name].shape
            if part.shape() != declared:
                raise UploadError(f"release {name!r} is declared as {declared}, got {part.shape()}")
            if part.clients() != len(ids):
                raise UploadError(f"release {name!r} carries {part.clients()} clients, "
                                  f"not {len(ids)}")
            if not part.finite():
                raise UploadError(f"release {name!r} holds NaN or infinity; "
                                  "lower the learning rates or check the features")
        self._session.submit(ids, uploads)

    def close(self) -> Sums:
        """End the round and return its sums."""
        return self._session.close()
