"""GFMFR without groups, which is also what every form of groups starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from privacy import Kind, Part, Release, Totals, Touched
from privfedmm.data.types import Rows
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.server import Server
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.gfmfr.state import Clients, Plan, ServerState
from privfedmm.gfmfr.trained import Trained
from privfedmm.groupings import GroupingEntry
from privfedmm.groupings.centroids import Centroids


@dataclass(frozen=True)
class Beginning:
    """What groups put into the server's state before round 0; shapes as in `ServerState`."""

    centroids: Centroids | None = None
    adapters: Tensor | None = None
    group_users: Tensor | None = None


class Ungrouped:
    """One item table for everybody.

    server: makes the steps that all forms share. entry: of the grouping in the settings. seed: of
    the run, for those that draw.
    """

    kind: Kind = "sum"  # how updates of tables and network reach the server
    releases: tuple[Release, ...] = ()

    def __init__(
        self, settings: AlgorithmSettings, features: FeatureViews, train_rows: Rows,
        server: Server, entry: GroupingEntry, seed: int,
    ) -> None:
        self._settings = settings
        self._features = features
        self._train = train_rows
        self._server = server
        self._entry = entry

    def beginning(self) -> Beginning:
        """Before round 0."""
        return Beginning()

    def join(self, plan: Plan, ids: np.ndarray, clients: Clients) -> Tensor | None:
        """On the device: write the groups of clients ids [m]; the signals [m, D] they picked by."""
        return None

    def uploads(self, update: Touched, trained: Trained) -> dict[str, Part]:
        """What a block sends about groups, beside its update of the item table."""
        return {}

    def step(self, state: ServerState, totals: Totals) -> ServerState:
        """The next state, averages and associations aside: tables and network from sums."""
        return self._server.summed(state, totals)

    def named(self) -> tuple[str, int] | None:
        """The grouping's name and how many groups there are; None without groups."""
        if self._entry.picked_by == "nobody":
            return None
        return self._entry.name, self._settings.groups.groups
