"""Plain aggregation: the server reads every upload and adds them up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from privacy.aggregation.protocol import Session, Sums
from privacy.sampling import Cohort
from privacy.uploads import Collected, Release, UploadError, Uploads


class PlainAggregator:
    """Sums uploads in the clear."""

    name = "plain"
    server_sees = "every client's upload in the clear, changed rows and group included"

    def open(self, cohort: Cohort, releases: Sequence[Release]) -> Session:
        """A session that keeps running sums only, whatever the size of the cohort."""
        return _PlainSession(cohort, releases)


class _PlainSession:
    def __init__(self, cohort: Cohort, releases: Sequence[Release]) -> None:
        self._cohort = cohort
        self._seen = np.zeros(len(cohort.ids), dtype=bool)
        self._sums = {r.name: torch.zeros(r.shape) for r in releases if r.kind == "sum"}
        self._individual = {r.name: Collected() for r in releases if r.kind == "individual"}
        self._bytes = 0

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        places = np.searchsorted(self._cohort.ids, ids)
        if (places >= len(self._cohort.ids)).any() or (self._cohort.ids[places] != ids).any():
            raise UploadError("an upload came from a client outside the cohort")
        if self._seen[places].any() or len(np.unique(ids)) != len(ids):
            raise UploadError("a client uploaded twice in one round")
        self._seen[places] = True
        for name, part in uploads.items():
            if name in self._individual:
                self._individual[name].add(ids, part)
            else:
                part.add_to(self._sums[name])
            self._bytes += part.nbytes()

    def close(self) -> Sums:
        missing = int((~self._seen).sum())
        if missing:
            raise UploadError(f"{missing} of {len(self._seen)} clients sent no upload this round")
        return Sums(self._sums, self._individual, self._bytes)
