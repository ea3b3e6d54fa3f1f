"""Make benign clients for an audit of a stack alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from privacy.randomness import Source
from privacy.releases import Release
from privacy.sampling import Cohort
from privacy.stack import Totals
from privacy.uploads import Dense, Uploads

BenignRound = Callable[[Cohort, Totals | None], Iterable[tuple[np.ndarray, Uploads]]]


def synthetic_benign(
    releases: Sequence[Release], clients: int, source: Source, rank: int = 5, norm: float = 2.0
) -> BenignRound:
    """Make benign clients with updates of about `norm` a release: low rank, a drift, fresh
    noise."""
    scale = norm / math.sqrt(3)

    def draw(label: str, round_: int, *shape: int) -> Tensor:
        drawn = source.normal(label, round_, math.prod(shape)).reshape(shape)
        return torch.from_numpy(drawn).float()

    steady: Mapping[str, Tensor] = {
        r.name: scale / math.sqrt(rank * math.prod(r.shape)) * (
            draw(f"benign tastes {r.name}", 0, clients, rank)
            @ draw(f"benign themes {r.name}", 0, rank, math.prod(r.shape)))
        + scale / math.sqrt(math.prod(r.shape)) * draw(f"benign trend {r.name}", 0, 1,
                                                       math.prod(r.shape))
        for r in releases
    }

    def play_round(
        cohort: Cohort, last: Totals | None
    ) -> Iterable[tuple[np.ndarray, Uploads]]:
        ids = cohort.ids
        uploads = {}
        for release in releases:
            if not release.in_round(cohort.round):
                continue
            size = math.prod(release.shape)
            fresh = draw(f"benign {release.name}", cohort.round, len(ids), size)
            rows = steady[release.name][torch.from_numpy(ids)] * 0.95**cohort.round
            uploads[release.name] = Dense(
                (rows + fresh * (scale / math.sqrt(size))).reshape(len(ids), *release.shape))
        return [(ids, uploads)] if len(ids) else []

    return play_round
