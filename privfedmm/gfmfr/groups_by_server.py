"""Groups that the server clusters from every client's network, as the reference code does."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privacy import Kind, Totals
from privfedmm.backbones import BACKBONES
from privfedmm.data.types import Rows
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.server import Server
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.gfmfr.state import Clients, Plan, ServerState
from privfedmm.gfmfr.ungrouped import Ungrouped
from privfedmm.groupings import GroupingEntry, GroupingTerms
from privfedmm.groupings.checked import CheckedServer


class ByServer(Ungrouped):
    """Lets every client's update reach the server by itself, so that no guarantee goes with it."""

    kind: Kind = "individual"

    def __init__(
        self, settings: AlgorithmSettings, features: FeatureViews, train_rows: Rows,
        server: Server, entry: GroupingEntry, seed: int,
    ) -> None:
        super().__init__(settings, features, train_rows, server, entry, seed)
        self._grouping = CheckedServer(entry, GroupingTerms(
            settings=settings.groups, signals=None, dim=server.network_size, seed=seed))

    def join(self, plan: Plan, ids: np.ndarray, clients: Clients) -> Tensor | None:
        """Let each client read its own label in the broadcast, from round 1 on."""
        if plan.labels is not None:
            clients.group[torch.from_numpy(ids)] = torch.from_numpy(plan.labels[ids]).long()
        return None

    def step(self, state: ServerState, totals: Totals) -> ServerState:
        """Take the reference's server step, on every client's own upload."""
        networks = totals.individual["network_update"].dense(self._train.users)
        base = torch.cat([value.reshape(-1) for value in state.network.values()])
        labels = self._grouping.labels((networks + base).numpy(), state.labels)
        return self.tables(state, totals, labels, networks.mean(0), totals.cohort,
                           self._settings.groups.groups)

    def tables(
        self,
        state: ServerState,
        totals: Totals,
        labels: np.ndarray,
        mean_network: Tensor,
        cohort: float,
        groups: int,
    ) -> ServerState:
        """Return the state with group mean tables, fusion and preference for given labels [n]."""
        counts = torch.from_numpy(np.bincount(labels, minlength=groups)).float()
        by_group = totals.individual["item_update"].slot_sums(labels, groups)
        decay = torch.zeros(groups, 1)
        if "item_decay" in totals.individual:
            decay = totals.individual["item_decay"].slot_sums(labels, groups)
        share = counts.clamp(min=1)[:, None]
        tables = state.items * (1 + decay / share)[:, :, None] + by_group / share[:, :, None]
        total = by_group.sum(0) + decay.sum() * state.items
        items = state.items + self._settings.server.lr * total / cohort
        network = self._server.network(state, mean_network)
        preference = state.preference
        if self._server.fusion is not None:
            fused, _ = self._server.fusion.fit(tables)
            preference = self._taught(state, totals, labels, groups, fused)
        return ServerState(
            state.round + 1, items, network, None, state.average_tables, None, None, preference,
            labels
        )

    def _taught(
        self, state: ServerState, totals: Totals, labels: np.ndarray, groups: int, fused: Tensor
    ) -> Tensor:
        """sigmoid of the members' mean head applied to the fused item rows: [K, I]."""
        counts = np.maximum(np.bincount(labels, minlength=groups), 1)
        mean = totals.individual["network_update"].slot_sums(labels, groups)
        mean = mean / torch.from_numpy(counts).float()[:, None]
        names = BACKBONES.get(self._settings.model.backbone).head
        assert names is not None  # `checks.check` has seen to it
        head, bias = (self._tail(mean, state, name) for name in names)
        return torch.sigmoid(torch.einsum("kid,kd->ki", fused, head) + bias)

    @staticmethod
    def _tail(mean: Tensor, state: ServerState, name: str) -> Tensor:
        start = 0
        for key, value in state.network.items():
            if key == name:
                return value.reshape(1, -1) + mean[:, start : start + value.numel()]
            start += value.numel()
        raise KeyError(name)
