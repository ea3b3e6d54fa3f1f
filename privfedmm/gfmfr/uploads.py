"""What leaves a client of GFMFR: the declared releases, and the uploads that fill them."""

from __future__ import annotations

import torch
from torch import Tensor

from privacy import Dense, Kind, LowRank, Part, Release, Role, Slotted, Touched, Uploads
from privfedmm.devices.samples import Samples
from privfedmm.gfmfr.client import Local
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.gfmfr.state import Plan

COUNT = "group_count"


class UploadForm:
    """Declares releases and builds a block's uploads in their shapes.

    network: values of the shared network; signal: of the grouping signal; associations: their
    release, which is uploaded beside what is filled in here. Raises ValueError for a
    group table in a public subspace without features.
    """

    def __init__(
        self, settings: AlgorithmSettings, features: FeatureViews, width: int, network: int,
        signal: int, federated: bool, associations: Release | None = None,
    ) -> None:
        self._settings = settings
        self._items = features.num_items
        self._network = network
        self._basis = group_basis(settings, features)
        self._associations = associations
        self.releases = self._declared(width, signal) if federated else ()

    def _declared(self, width: int, signal: int) -> tuple[Release, ...]:
        s, k = self._settings, self._settings.groups.groups
        kind: Kind = "individual" if s.groups.grouping == "reference" else "sum"
        table = (self._items, width)
        out = [Release("item_update", table, kind, "change of the shared item table",
                       role=Role.ITEM_TABLE)]
        if self._network:
            out.append(
                Release("network_update", (self._network,), kind, "change of the shared network",
                        role=Role.NETWORK))
        if s.local.weight_decay_items:
            out.append(Release("item_decay", (1,), kind, "weight decay of the untouched rows"))
        if self._associations is not None:
            out.append(self._associations)
        if s.groups.grouping != "private":
            return tuple(out)
        shapes: dict[str, tuple[tuple[int, ...], str]] = {
            COUNT: ((k,), "one in the client's group"),
            "group_signal": ((k, signal), "grouping signal, by group"),
        }
        if s.groups.adapter:
            rows = self._items if self._basis is None else self._basis.shape[1]
            shapes["group_item_update"] = (k, rows, width), "item update, by group"
        if s.distillation.weight:
            shapes["group_user"] = (k, s.model.dim), "user vector, by group"
        return (*out, *(Release(
            name, shape, "sum", meaning, statistic=True,
            role=Role.GROUP_MEMBERSHIP if name == COUNT else Role.STATISTIC)
            for name, (shape, meaning) in shapes.items()))

    def fill(
        self,
        plan: Plan,
        drawn: Samples,
        local: Local,
        before: Tensor,
        factor: Tensor,
        factors: tuple[Tensor, Tensor] | None,
        signal: Tensor | None,
        group: Tensor,
    ) -> Uploads:
        """Uploads of a trained block: `before` holds its shared rows as they were broadcast,
        `factors` their change in two factors where it has them."""
        if not self.releases:
            return {}
        s, k = self._settings, self._settings.groups.groups
        values = local.shared - before
        decays = bool(s.local.weight_decay_items)
        if decays:
            # Untouched rows shrink by a known factor: one scalar a client says it for all rows.
            values = values - (factor - 1)[:, None, None] * before
        values *= drawn.mask[:, :, None]
        rows = Touched(drawn.items, values, drawn.mask, self._items)
        update = rows if factors is None else LowRank(**vars(rows), left=factors[0],
                                                      right=factors[1])
        parts: dict[str, Part] = {"item_update": update}
        if decays:
            parts["item_decay"] = Dense((factor - 1)[:, None])
        if local.network:
            flat = [
                (local.network[name] - value).reshape(len(factor), -1)
                for name, value in plan.network.items()
            ]
            parts["network_update"] = Dense(torch.cat(flat, dim=1))
        if s.groups.grouping == "private":
            assert signal is not None
            parts["group_count"] = Slotted(group, Dense(torch.ones(len(group))), k)
            parts["group_signal"] = Slotted(group, Dense(signal), k)
            if s.groups.adapter:
                whole = rows if self._basis is None else update.projected(self._basis)
                parts["group_item_update"] = Slotted(group, whole, k)
            if s.distillation.weight:
                parts["group_user"] = Slotted(group, Dense(local.user), k)
        return parts


def group_basis(settings: AlgorithmSettings, features: FeatureViews) -> Tensor | None:
    """Public orthonormal columns [items, r] of the groups' item updates; None: whole tables."""
    rank = settings.groups.adapter_rank
    if not rank or not settings.groups.adapter or settings.groups.grouping != "private":
        return None
    return features.subspace(rank) if features.joined is not None else None
