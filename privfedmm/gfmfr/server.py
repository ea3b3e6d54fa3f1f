"""The server's half of a round: item table, groups, fusion and teacher, from sums alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privacy import Totals
from privfedmm.backbones import BACKBONES, Backbone
from privfedmm.devices.associations import ASSOCIATIONS, regressed
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.fusion import Fusion
from privfedmm.gfmfr.grouping import align, cluster_parameters, lloyd_step
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.gfmfr.state import ServerState, average
from privfedmm.gfmfr.uploads import group_basis


class Server:
    """Holds the fusion network between rounds; everything else is in `ServerState`."""

    def __init__(
        self,
        settings: AlgorithmSettings,
        backbone: Backbone,
        features: FeatureViews,
        population: int,
        seed: int,
    ) -> None:
        self._settings = settings
        self._backbone = backbone
        self._features = features
        self._population = population
        self._seed = seed
        self._basis = group_basis(settings, features)
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

    def with_cold(self, state: ServerState, table: Tensor, group: int) -> Tensor:
        """A group's item table [items, width] with fused rows for the items nobody has trained.

        A cold row is the mean of the fused row and of what features and smoothing have made of the
        item: two guesses from content that err apart. Before fusion, or without, the second alone.
        """
        cold = self._features.cold
        if cold is None or self.fusion is None or state.preference is None:
            return table
        rows = torch.from_numpy(cold)
        table = table.clone()
        table[rows] = (table[rows] + self.fusion.tables()[group][rows]) / 2
        return table

    def step(self, state: ServerState, totals: Totals) -> ServerState:
        """The next state."""
        reference = self._settings.groups.grouping == "reference"
        new = self._reference_step(state, totals) if reference else self._step(state, totals)
        new.associations = state.associations
        if ASSOCIATIONS in totals.sums:
            new.associations = regressed(
                totals.sums[ASSOCIATIONS], self._settings.associations.ridge)
        tables = [new.items] if new.adapters is None else [new.items, *new.adapters]
        new.average_tables = average(
            state.average_tables, torch.stack(tables), self._settings.model.averaging, state.round
        )
        return new

    def _step(self, state: ServerState, totals: Totals) -> ServerState:
        s = self._settings
        sums, n = totals.sums, totals.cohort
        update = sums["item_update"] / n
        if "item_decay" in sums:
            update = update + sums["item_decay"] / n * state.items
        items = state.items + s.server.lr * self._smoothed(update)
        network = self._network(state, sums["network_update"] / n) if state.network else {}
        new = ServerState(
            state.round + 1, items, network, state.adapters, state.average_tables,
            state.centroids, state.group_users, state.preference, None,
        )
        if s.groups.grouping == "private":
            self._groups(state, new, totals)
        return new

    def _smoothed(self, update: Tensor) -> Tensor:
        """An item's update, and a share of the updates of items with like features."""
        if self._features.neighbours is None:
            return update
        return update + self._settings.server.smoothing * self._features.neighbours.mean(update)

    def _network(self, state: ServerState, mean: Tensor) -> dict[str, Tensor]:
        out, start = {}, 0
        for name, value in state.network.items():
            part = mean[start : start + value.numel()].reshape(value.shape)
            out[name] = value + self._settings.server.network_lr * part
            start += value.numel()
        return out

    def _groups(self, old: ServerState, new: ServerState, totals: Totals) -> None:
        """Private grouping: centroids, adapters and the teacher from group sums."""
        s, sums = self._settings, totals.sums
        counts = sums["group_count"]
        # Three deviations: a group that is noise alone counts as empty but once in 700.
        least = s.groups.min_size + 3 * totals.noise_stddev.get("group_count", 0.0)
        there = counts >= least
        assert old.centroids is not None and old.group_users is not None
        if old.round < s.groups.settle_rounds:
            new.centroids = lloyd_step(
                old.centroids, counts, sums["group_signal"], least
            )
        if old.round < s.groups.start_round:
            return
        if old.adapters is not None:
            step = s.server.lr * s.groups.adapter / totals.cohort
            # A group too small to hide its members is not heard: its table stays as it was.
            update = sums["group_item_update"] * there[:, None, None]
            new.adapters = old.adapters + step * (
                update if self._basis is None else self._basis @ update)
        if self.fusion is None:
            return
        new.group_users = torch.where(
            there[:, None], sums["group_user"] / counts.clamp(min=1)[:, None], old.group_users
        )
        if old.round % s.fusion.every == 0:
            tables = new.items[None].expand(s.groups.groups, -1, -1)
            if new.adapters is not None:
                tables = tables + new.adapters
            fused, _ = self.fusion.fit(tables)
            new.preference = self._group_user_teacher(new, fused)

    def _group_user_teacher(self, state: ServerState, fused: Tensor) -> Tensor:
        """Each group's mean user scores its fused items through the clients' own model: [K, I]."""
        assert state.group_users is not None
        rows = []
        for user, table in zip(state.group_users, fused, strict=True):
            network = {name: value[None] for name, value in state.network.items()}
            rows.append(self._backbone.scores(user[None], table, network)[0])
        return torch.sigmoid(torch.stack(rows))

    def _reference_step(self, state: ServerState, totals: Totals) -> ServerState:
        """The reference's server step, on every client's own upload."""
        s, n, k = self._settings, totals.cohort, self._settings.groups.groups
        networks = totals.individual["network_update"].dense(self._population)
        base = torch.cat([value.reshape(-1) for value in state.network.values()])
        vectors = (networks + base).numpy()
        labels = cluster_parameters(vectors, s.groups, self._seed)
        if state.labels is not None:
            labels = align(state.labels, labels)
        return self.reference_tables(state, totals, labels, networks.mean(0), n, k)

    def reference_tables(
        self,
        state: ServerState,
        totals: Totals,
        labels: np.ndarray,
        mean_network: Tensor,
        cohort: float,
        groups: int,
    ) -> ServerState:
        """Group mean tables, fusion and preference for given labels [n]."""
        counts = torch.from_numpy(np.bincount(labels, minlength=groups)).float()
        by_group = totals.individual["item_update"].slot_sums(labels, groups)
        decay = torch.zeros(groups, 1)
        if "item_decay" in totals.individual:
            decay = totals.individual["item_decay"].slot_sums(labels, groups)
        share = counts.clamp(min=1)[:, None]
        tables = state.items * (1 + decay / share)[:, :, None] + by_group / share[:, :, None]
        total = by_group.sum(0) + decay.sum() * state.items
        items = state.items + self._settings.server.lr * total / cohort
        network = self._network(state, mean_network)
        preference = state.preference
        if self.fusion is not None:
            fused, _ = self.fusion.fit(tables)
            preference = self._mean_head_teacher(state, totals, labels, groups, fused)
        return ServerState(
            state.round + 1, items, network, None, state.average_tables, None, None, preference,
            labels
        )

    def _mean_head_teacher(
        self, state: ServerState, totals: Totals, labels: np.ndarray, groups: int, fused: Tensor
    ) -> Tensor:
        """sigmoid of the members' mean head applied to the fused item rows: [K, I]."""
        counts = np.maximum(np.bincount(labels, minlength=groups), 1)
        mean = totals.individual["network_update"].slot_sums(labels, groups)
        mean = mean / torch.from_numpy(counts).float()[:, None]
        names = BACKBONES.get(self._settings.model.backbone).head
        assert names is not None  # `settings.check` has seen to it
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
