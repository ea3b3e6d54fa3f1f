"""The server's half that all groupings share: item table, network and fusion, from sums alone."""

from __future__ import annotations

import torch
from torch import Tensor

from privacy import Totals
from privfedmm.backbones import Backbone
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.fusion import Fusion
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.gfmfr.state import ServerState


class Server:
    """Holds the fusion network between rounds; everything else is in `ServerState`."""

    def __init__(
        self, settings: AlgorithmSettings, backbone: Backbone, features: FeatureViews, seed: int
    ) -> None:
        self._settings = settings
        self._features = features
        self.backbone = backbone
        self.network_size = sum(v.numel() for v in backbone.initial_network(seed).values())
        self.fusion: Fusion | None = None
        if settings.distillation.weight:
            inputs = features.fusion_inputs()
            group_dim = settings.model.dim
            if not settings.fusion.feature_rank and inputs:
                group_dim = int(next(iter(inputs.values())).shape[1])
            self.fusion = Fusion(
                settings.fusion, settings.groups.groups, inputs, group_dim, backbone.width, seed,
                features.fusion_present(),
                None if features.cold is None else torch.from_numpy(features.cold),
            )

    @property
    def width(self) -> int:
        """Return the number of values of an item row."""
        return self.backbone.width

    def summed(self, state: ServerState, totals: Totals) -> ServerState:
        """Return the next state from the sums of all clients' updates; groups stay as they are."""
        sums, n = totals.sums, totals.cohort
        update = sums["item_update"] / n
        if "item_decay" in sums:
            update = update + sums["item_decay"] / n * state.items
        items = state.items + self._settings.server.lr * self._smoothed(update)
        network = self.network(state, sums["network_update"] / n) if state.network else {}
        return ServerState(
            state.round + 1, items, network, state.adapters, state.average_tables,
            state.centroids, state.group_users, state.preference, None,
        )

    def _smoothed(self, update: Tensor) -> Tensor:
        """An item's update, and a share of the updates of items with like features."""
        if self._features.neighbours is None:
            return update
        return update + self._settings.server.smoothing * self._features.neighbours.mean(update)

    def network(self, state: ServerState, mean: Tensor) -> dict[str, Tensor]:
        """Return the shared network after a mean update [values]."""
        out, start = {}, 0
        for name, value in state.network.items():
            part = mean[start : start + value.numel()].reshape(value.shape)
            out[name] = value + self._settings.server.network_lr * part
            start += value.numel()
        return out
