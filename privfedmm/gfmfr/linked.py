"""Associations beside GFMFR's logits: summed in the first round, added to scores on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privacy import Dense, Part, Release, Totals
from privfedmm.data.types import Rows
from privfedmm.devices import samples
from privfedmm.devices.associations import ASSOCIATIONS, Regressed, regressed
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.settings import AssociationSettings
from privfedmm.gfmfr.state import ServerState


class NoLinks:
    """Stands for a run without associations."""

    releases: tuple[Release, ...] = ()
    most_clients = samples.BLOCK_SAMPLES

    def upload(self, round_: int, ids: np.ndarray) -> dict[str, Part]:
        """Return what clients ids [m] send in a round, which is nothing."""
        return {}

    def learnt(self, state: ServerState, totals: Totals) -> Tensor | None:
        """Return the server's matrix [r, r] after a round, None where there is none."""
        return state.associations

    def scores(self, state: ServerState, ids: np.ndarray) -> Tensor:
        """Return what associations add to scores [m, items]; [1, 1] of 0 where there are none."""
        return torch.zeros(1, 1)


class Links(NoLinks):
    """Counts associations over public components of the features.

    privfedmm/devices/associations.py describes them.
    """

    def __init__(
        self, s: AssociationSettings, weight: float, features: FeatureViews, train_rows: Rows,
        age: np.ndarray | None, first: int,
    ) -> None:
        self._weight, self._ridge = weight, s.ridge
        self._regressed = Regressed(
            features.space(s.rank, s.image_weight), train_rows, age, s.half_life)
        # Popularity is not released here: all items count alike in the space.
        self._alike = torch.ones(features.num_items)
        self.releases = (self._regressed.release(first),)
        self.most_clients = self._regressed.most_clients

    def upload(self, round_: int, ids: np.ndarray) -> dict[str, Part]:
        """Return each client's pair of matrices in the first round of training, nothing later."""
        if round_:
            return {}
        return {ASSOCIATIONS: Dense(self._regressed.upload(ids, self._alike))}

    def learnt(self, state: ServerState, totals: Totals) -> Tensor | None:
        """Return the regression, from the round in which its sums arrive."""
        if ASSOCIATIONS not in totals.sums:
            return state.associations
        return regressed(totals.sums[ASSOCIATIONS], self._ridge)

    def scores(self, state: ServerState, ids: np.ndarray) -> Tensor:
        """Return the weighted, standardised score of what goes with the clients' items [m, items];
        [1, 1] of 0 before the regression is there."""
        if state.associations is None:
            return torch.zeros(1, 1)
        return self._weight * self._regressed.scores(ids, self._alike, state.associations)


def links_of(
    s: AssociationSettings, features: FeatureViews, train_rows: Rows, age: np.ndarray | None,
    first: int = 0,
) -> NoLinks:
    """Return associations where settled settings ask for them and the data has features.

    first: the round of the run in which training begins, and associations are summed.
    """
    if not s.weight or features.joined is None:
        return NoLinks()
    return Links(s, s.weight, features, train_rows, age, first)
