"""The updates of tables and network that every client of GFMFR sends, grouped or not."""

from __future__ import annotations

import torch
from torch import Tensor

from privacy import Dense, Kind, LowRank, Part, Release, Role, Touched
from privfedmm.gfmfr.state import Plan
from privfedmm.gfmfr.trained import Trained


class Updates:
    """Declares the releases of an update, and fills them for a trained block.

    items, width: the shape of the item table. network: the number of values of the shared network,
    0 without one. decays: whether untouched rows shrink too. kind: how updates reach the server, as
    sums or one by one. unit: whether a client's updates together are brought to length 1.
    """

    def __init__(
        self, items: int, width: int, network: int, decays: bool, kind: Kind, unit: bool = False
    ) -> None:
        self._items = items
        self._decays = decays
        self._unit = unit
        out = [Release("item_update", (items, width), kind, "change of the shared item table",
                       role=Role.ITEM_TABLE)]
        if network:
            out.append(Release("network_update", (network,), kind, "change of the shared network",
                               role=Role.NETWORK))
        if decays:
            out.append(Release("item_decay", (1,), kind, "weight decay of the untouched rows"))
        self.releases = tuple(out)

    def fill(self, plan: Plan, trained: Trained) -> tuple[Touched, dict[str, Part]]:
        """Return the item update of a block, and all its updates by the names of their releases."""
        rows = Touched(
            trained.drawn.items, self._changes(trained), trained.drawn.mask, self._items)
        left_right = trained.trace.factors
        update = rows if left_right is None else LowRank(
            **vars(rows), left=left_right[0], right=left_right[1])
        parts: dict[str, Part] = {"item_update": update}
        if self._decays:
            parts["item_decay"] = Dense((trained.factor - 1)[:, None])
        if trained.local.network:
            flat = [
                (trained.local.network[name] - value).reshape(len(trained.factor), -1)
                for name, value in plan.network.items()
            ]
            parts["network_update"] = Dense(torch.cat(flat, dim=1))
        if not self._unit:
            return update, parts
        squared = torch.stack([p.held().flatten(1).square().sum(1) for p in parts.values()]).sum(0)
        parts = {n: p.scaled(squared.sqrt().clamp(min=1e-9).reciprocal()) for n, p in parts.items()}
        scaled = parts["item_update"]
        assert isinstance(scaled, Touched)
        return scaled, parts

    def _changes(self, trained: Trained) -> Tensor:
        values = trained.local.shared - trained.before
        if self._decays:
            # Untouched rows shrink by a known factor: one scalar a client says it for all rows.
            values = values - (trained.factor - 1)[:, None, None] * trained.before
        values *= trained.drawn.mask[:, :, None]
        return values
