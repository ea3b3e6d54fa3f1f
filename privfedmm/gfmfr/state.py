"""What the server holds, what it broadcasts, and what stays on the clients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from privfedmm.base.streams import normal
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.settings import ModelSettings
from privfedmm.groupings.centroids import Centroids
from privfedmm.statistics.state import StatisticsClients, StatisticsState


@dataclass
class ServerState:
    """Holds what the server knows between rounds.

    items [I, width]: the item table. network: name -> tensor. adapters [K, I, width]: each group's
    own addition to the item table. average_tables [1 or 1 + K, I, width]: the running averages of
    items and adapters, from which clients score. group_users [K, d]: the mean user vectors.
    preference [K, I]: the teacher's probabilities. labels [n]: each client's group where the server
    assigns it. associations [r, r]: the matrix of what goes with what, from round 1 on. opened:
    what was released before training, None where nothing was.
    """

    round: int
    items: Tensor
    network: dict[str, Tensor]
    adapters: Tensor | None
    average_tables: Tensor
    centroids: Centroids | None
    group_users: Tensor | None
    preference: Tensor | None
    labels: np.ndarray | None
    associations: Tensor | None = None
    opened: StatisticsState | None = None

    def state_dict(self) -> dict[str, object]:
        """Return all fields as tensors and plain values, for a checkpoint."""
        fields = dict(vars(self))
        if self.labels is not None:
            fields["labels"] = torch.from_numpy(self.labels)
        if self.centroids is not None:
            fields["centroids"] = dict(vars(self.centroids))
        if self.opened is not None:
            fields["opened"] = dict(vars(self.opened))
        return fields

    @classmethod
    def from_state_dict(cls, fields: dict[str, object]) -> ServerState:
        """Restore what `state_dict` returned."""
        fields = dict(fields)
        centroids = fields["centroids"]
        if centroids is not None:
            fields["centroids"] = Centroids(**centroids)  # type: ignore[arg-type]
        if isinstance(fields["labels"], Tensor):
            fields["labels"] = fields["labels"].numpy()
        if isinstance(opened := fields.get("opened"), dict):
            fields["opened"] = StatisticsState(**opened)
        return cls(**fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Plan:
    """Holds the broadcast of one round, the same for every client, all groups' parts included.

    labels [n] exist only where the server picks groups; each client reads its own entry.
    """

    round: int
    items: Tensor
    network: dict[str, Tensor]
    adapters: Tensor | None
    centroids: Centroids | None
    preference: Tensor | None
    labels: np.ndarray | None
    opened: StatisticsState | None = None

    def tensors(self) -> list[Tensor]:
        """Return the tensors that travel and are hashed.

        Labels are public to all and only there where the server reads every network; they are not
        among the tensors.
        """
        parts = [self.items, self.adapters, self.preference, *self.network.values()]
        if self.centroids is not None:
            parts += [self.centroids.centres, self.centroids.mean]
        if self.opened is not None:
            parts += self.opened.tensors()
        return [part for part in parts if part is not None]


@dataclass
class Clients:
    """Holds the state that never leaves the devices, for all clients.

    user [n, d]: the user vectors, with their running average. group [n]: int64, the group of each
    client. private: the item rows of their own, in the form that private_rows.py gives them, or
    None. opened: what they hold of what was released before training, or None.
    """

    user: Tensor
    user_average: Tensor
    group: Tensor
    private: Tensor | None
    opened: StatisticsClients | None = None

    def copy(self) -> Clients:
        """Return an independent copy."""
        private = None if self.private is None else self.private.clone()
        opened = None if self.opened is None else StatisticsClients(
            **{name: value.clone() for name, value in vars(self.opened).items()})
        return Clients(
            self.user.clone(), self.user_average.clone(), self.group.clone(), private, opened
        )

    def state_dict(self) -> dict[str, object]:
        """Return all fields as tensors and plain values, for a checkpoint."""
        fields = dict(vars(self))
        if self.opened is not None:
            fields["opened"] = dict(vars(self.opened))
        return fields

    @classmethod
    def from_state_dict(cls, fields: dict[str, object]) -> Clients:
        """Restore what `state_dict` returned."""
        fields = dict(fields)
        if isinstance(opened := fields.get("opened"), dict):
            fields["opened"] = StatisticsClients(**opened)
        return cls(**fields)  # type: ignore[arg-type]


def initial_items(
    settings: ModelSettings, features: FeatureViews, width: int, seed: int
) -> Tensor:
    """Return the item table [items, width] before round 0, random or from public features."""
    s, dim = settings, settings.dim
    rows = normal(seed, "items", 0, np.arange(features.num_items), dim) * s.item_init_std
    table = torch.zeros(features.num_items, width)
    table[:, :dim] = torch.from_numpy(rows)
    if s.item_init == "features" and features.joined is not None:
        start = features.principal(dim)
        if spread := float(start.std()):  # 0 where no two items have features that differ
            table[:, : start.shape[1]] = start * (s.item_init_std / spread)
    return table


def average(old: Tensor, new: Tensor, keep: float, round_: int) -> Tensor:
    """Return an exponential average, of the shape of both, that starts at the first value.

    The share of the old average rises with the rounds up to `keep`.
    """
    share = min(keep, round_ / (round_ + 1))
    return share * old + (1 - share) * new
