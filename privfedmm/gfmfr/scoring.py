"""Scores on the device: tables by group, private rows, profile, associations; their parts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privfedmm.data.types import Rows
from privfedmm.devices.associations import ASSOCIATIONS
from privfedmm.devices.profiles import profile_cosine
from privfedmm.gfmfr.client import as_networks
from privfedmm.gfmfr.explain import score_parts, unit
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.linked import NoLinks
from privfedmm.gfmfr.opening import NoOpening
from privfedmm.gfmfr.private_rows import NoRows
from privfedmm.gfmfr.server import Server
from privfedmm.gfmfr.state import Clients, ServerState


class Scoring:
    """Scores every item for blocks of clients, from what was broadcast and what they hold."""

    def __init__(
        self, server: Server, features: FeatureViews, train_rows: Rows, profile_weight: float,
        rows: NoRows, links: NoLinks, opening: NoOpening,
    ) -> None:
        self._server = server
        self._features = features
        self._train = train_rows
        self._profile_weight = profile_weight
        self._rows = rows
        self._links = links
        self._opening = opening

    def scores(self, state: ServerState, clients: Clients, ids: np.ndarray) -> Tensor:
        """Return the logits [m, items] of every item for clients ids [m]."""
        opened = self._opening.scores(state.opened, clients.opened, ids)
        if 0 < self._opening.rounds >= state.round:
            return opened  # nothing is trained yet
        return opened + self._trained(state, clients, ids)

    def _trained(self, state: ServerState, clients: Clients, ids: np.ndarray) -> Tensor:
        """What training and the device's profile say [m, items]."""
        who, backbone = torch.from_numpy(ids), self._server.backbone
        group = clients.group[who]
        out = torch.empty(len(ids), self._features.num_items)
        for g in torch.unique(group).tolist():
            member = group == g
            table = state.average_tables[0] if state.adapters is None else (
                state.average_tables[0] + state.average_tables[1 + g]
            )
            table = self._with_cold(state, table, g)
            user = clients.user_average[who[member]]
            networks = as_networks(state.network, len(user))
            own = self._rows.beside(clients.private, who[member], table)
            out[member] = (backbone.scores(user, table, networks) if own is None
                           else backbone.logits(user, own, networks))
        if self._profile_weight and self._features.profile is not None:
            # Standardised cosine of every item with each client's profile.
            cosine = profile_cosine(self._train, ids, unit(self._features.profile))
            out += self._profile_weight * cosine
        return out + self._links.scores(state, ids)

    def _with_cold(self, state: ServerState, table: Tensor, group: int) -> Tensor:
        """A group's item table [items, width] with fused rows for the items nobody has trained.

        A cold row is the mean of the fused row and of what features and smoothing have made of the
        item: two guesses from content that err apart. Before fusion, or without, the second alone.
        """
        cold, fusion = self._features.cold, self._server.fusion
        if cold is None or fusion is None or state.preference is None:
            return table
        rows = torch.from_numpy(cold)
        table = table.clone()
        table[rows] = (table[rows] + fusion.tables()[group][rows]) / 2
        return table

    def explain(
        self, state: ServerState, clients: Clients, ids: np.ndarray
    ) -> dict[str, Tensor]:
        """Return the parts that add up to `scores`, by name.

        They are what was released before training, each modality's part by the device's profile,
        associations where there are any, and the rest: the same names in every state.
        """
        parts = dict(self._opening.explain(state.opened, clients.opened, ids))
        linked = self._links.scores(state, ids).expand(len(ids), self._features.num_items)
        trained = score_parts(
            self._trained(state, clients, ids) - linked, self._train, ids, self._features,
            self._profile_weight)
        if self._links.releases:
            trained[ASSOCIATIONS] = parts.get(ASSOCIATIONS, 0.0) + linked
        if 0 < self._opening.rounds >= state.round:  # nothing is trained yet
            trained = {name: torch.zeros_like(part) for name, part in trained.items()
                       if name not in parts}
        return parts | trained
