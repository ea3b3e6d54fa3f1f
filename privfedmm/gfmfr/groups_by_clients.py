"""Groups that clients pick: their tables, mean users and teacher from sums by group alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privacy import Dense, Part, Release, Role, Slotted, Totals, Touched
from privfedmm.data.types import Rows
from privfedmm.devices.profiles import profile
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.server import Server
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.gfmfr.state import Clients, Plan, ServerState
from privfedmm.gfmfr.trained import Trained
from privfedmm.gfmfr.ungrouped import Beginning, Ungrouped
from privfedmm.groupings import GroupingEntry, GroupingTerms
from privfedmm.groupings.checked import CheckedClients

COUNT, SIGNAL, TABLE, USER = "group_count", "group_signal", "group_item_update", "group_user"


class ByClients(Ungrouped):
    """Lets a client send its signal, update and user vector in its group's slot."""

    def __init__(
        self, settings: AlgorithmSettings, features: FeatureViews, train_rows: Rows,
        server: Server, entry: GroupingEntry, seed: int,
    ) -> None:
        super().__init__(settings, features, train_rows, server, entry, seed)
        s = settings.groups
        self._public = features.profile if s.signal == "profile" else None
        self.signal_dim = settings.model.dim
        if self._public is not None:
            self.signal_dim = int(self._public.shape[1])
        self._grouping = CheckedClients(entry, GroupingTerms(
            settings=s, signals=self._public, dim=self.signal_dim, seed=seed))
        # Public orthonormal columns [items, r] of the groups' item updates; None: whole tables.
        self._basis: Tensor | None = None
        if s.adapter and s.adapter_rank and features.joined is not None:
            self._basis = features.subspace(s.adapter_rank)
        self.releases = self._declared()

    def _declared(self) -> tuple[Release, ...]:
        s, k = self._settings, self._settings.groups.groups
        shapes: dict[str, tuple[tuple[int, ...], str]] = {
            COUNT: ((k,), "one in the client's group"),
            SIGNAL: ((k, self.signal_dim), "grouping signal, by group"),
        }
        if s.groups.adapter:
            rows = self._features.num_items if self._basis is None else self._basis.shape[1]
            shapes[TABLE] = (k, rows, self._server.width), "item update, by group"
        if s.distillation.weight:
            shapes[USER] = (k, s.model.dim), "user vector, by group"
        return tuple(Release(
            name, shape, "sum", meaning, statistic=True,
            role=Role.GROUP_MEMBERSHIP if name == COUNT else Role.STATISTIC)
            for name, (shape, meaning) in shapes.items())

    def beginning(self) -> Beginning:
        """Return the grouping's centroids, with tables and mean users of 0."""
        s = self._settings
        adapters = None
        if s.groups.adapter:
            adapters = torch.zeros(
                s.groups.groups, self._features.num_items, self._server.width)
        return Beginning(
            self._grouping.start(), adapters, torch.zeros(s.groups.groups, s.model.dim))

    # On the device --------------------------------------------------------------------------

    def join(self, plan: Plan, ids: np.ndarray, clients: Clients) -> Tensor | None:
        """Let each client pick by its profile of public features, or by its user vector."""
        if plan.centroids is None:
            return None
        who = torch.from_numpy(ids)
        if self._public is None:
            user = clients.user[who]
            signal = user / user.norm(dim=1, keepdim=True).clamp(min=1e-9)
        else:
            signal = profile(self._train, ids, self._public)
        clients.group[who] = self._grouping.pick(signal, plan.centroids)
        return signal

    def uploads(self, update: Touched, trained: Trained) -> dict[str, Part]:
        """Return count, signal and, where the settings have them, table and user, each in its slot.
        """
        s, k, group = self._settings, self._settings.groups.groups, trained.group
        assert trained.signal is not None
        parts: dict[str, Part] = {
            COUNT: Slotted(group, Dense(torch.ones(len(group))), k),
            SIGNAL: Slotted(group, Dense(trained.signal), k),
        }
        if s.groups.adapter:
            # Held row by row: factors of a table do not sum by group.
            whole = (update.holding(update.values) if self._basis is None
                     else update.projected(self._basis))
            parts[TABLE] = Slotted(group, whole, k)
        if s.distillation.weight:
            parts[USER] = Slotted(group, Dense(trained.local.user), k)
        return parts

    # On the server --------------------------------------------------------------------------

    def step(self, state: ServerState, totals: Totals) -> ServerState:
        """Take the step of all groupings, then update centroids, groups' tables and the teacher."""
        s, sums = self._settings, totals.sums
        new = super().step(state, totals)
        counts = sums[COUNT]
        # Three deviations: a group that is noise alone counts as empty but once in 700.
        least = s.groups.min_size + 3 * totals.noise_stddev.get(COUNT, 0.0)
        there = counts >= least
        assert state.centroids is not None and state.group_users is not None
        if state.round < s.groups.settle_rounds:
            new.centroids = self._grouping.move(state.centroids, counts, sums[SIGNAL], least)
        if state.round < s.groups.start_round:
            return new
        if state.adapters is not None:
            step = s.server.lr * s.groups.adapter / totals.cohort
            # A group too small to hide its members is not heard: its table stays as it was.
            update = sums[TABLE] * there[:, None, None]
            new.adapters = state.adapters + step * (
                update if self._basis is None else self._basis @ update)
        if self._server.fusion is None:
            return new
        new.group_users = torch.where(
            there[:, None], sums[USER] / counts.clamp(min=1)[:, None], state.group_users
        )
        if state.round % s.fusion.every == 0:
            tables = new.items[None].expand(s.groups.groups, -1, -1)
            if new.adapters is not None:
                tables = tables + new.adapters
            fused, _ = self._server.fusion.fit(tables)
            new.preference = self._taught(new, fused)
        return new

    def _taught(self, state: ServerState, fused: Tensor) -> Tensor:
        """Each group's mean user scores its fused items through the clients' own model: [K, I]."""
        assert state.group_users is not None
        rows = []
        for user, table in zip(state.group_users, fused, strict=True):
            network = {name: value[None] for name, value in state.network.items()}
            rows.append(self._server.backbone.scores(user[None], table, network)[0])
        return torch.sigmoid(torch.stack(rows))
