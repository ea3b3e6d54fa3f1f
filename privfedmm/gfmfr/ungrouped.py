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
    """Holds what groups put into the server's state before round 0.

    The shapes are those of `ServerState`.
    """

    centroids: Centroids | None = None
    adapters: Tensor | None = None
    group_users: Tensor | None = None


class Ungrouped:
    """Provides one item table for everybody.

    server: makes the steps that all forms share. entry: the entry of the grouping in the settings.
    seed: the seed of the run, for those that draw.
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
        """Return what groups put into the state before round 0, which is nothing here."""
        return Beginning()

    def join(self, plan: Plan, ids: np.ndarray, clients: Clients) -> Tensor | None:
        """Write the groups of clients ids [m], and return the signals [m, D] they picked by.

        It runs on the device; None stands for no signals.
        """
        return None

    def uploads(self, update: Touched, trained: Trained) -> dict[str, Part]:
        """Return what a block sends about groups, beside its update of the item table."""
        return {}

    def step(self, state: ServerState, totals: Totals) -> ServerState:
        """Return the next state: tables and network from sums, without averages and associations.
        """
        return self._server.summed(state, totals)

    def named(self) -> tuple[str, int] | None:
        """Return the grouping's name and how many groups there are; None without groups."""
        if self._entry.picked_by == "nobody":
            return None
        return self._entry.name, self._settings.groups.groups
