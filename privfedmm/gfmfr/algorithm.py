"""GFMFR as an algorithm of the federation: what clients do, and what the server does with sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from privacy import Dense, Release, Totals, Uploads
from privfedmm.backbones import build
from privfedmm.base.streams import normal
from privfedmm.data.types import Rows
from privfedmm.devices import samples
from privfedmm.devices.associations import ASSOCIATIONS, Associations, Regressed
from privfedmm.devices.profiles import profile, profile_cosine
from privfedmm.federation.types import hash_tensors
from privfedmm.gfmfr.client import Local, Teacher, as_networks, decay_factor, rates, train
from privfedmm.gfmfr.explain import score_parts, unit
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.grouping import Centroids, assign, initial_centroids
from privfedmm.gfmfr.server import Server
from privfedmm.gfmfr.settings import AlgorithmSettings, AssociationSettings, check
from privfedmm.gfmfr.state import (
    Clients,
    Plan,
    ServerState,
    average,
    initial_items,
    keep_private_rows,
    private_rows,
)
from privfedmm.gfmfr.uploads import UploadForm


class GFMFR:
    """Group-wise fusion over a backbone; with grouping `none` and no features, the backbone alone.

    Raises ValueError for settings that do not fit together.
    """

    def __init__(
        self,
        settings: AlgorithmSettings,
        train_rows: Rows,
        features: FeatureViews,
        rounds: int,
        seed: int,
        federated: bool = True,
        train_age: np.ndarray | None = None,
    ) -> None:
        check(settings)
        associations = settings.associations.settled(train_age is not None)
        self.settings = settings = settings.model_copy(update={"associations": associations})
        self.backbone = build(settings.model.backbone, settings.model.dim)
        self._train = train_rows
        self._features = features
        self._items = features.num_items
        self._rounds = rounds
        self._seed = seed
        self._federated = federated
        self._warm = samples.warm_items(train_rows, features.cold)
        trained = self._items if self._warm is None else len(self._warm.items)
        self._counts = samples.sample_counts(
            train_rows, trained, settings.local.negatives_per_positive
        )
        self.signal_dim = self._signal_dim()
        self._associations = _associations(
            associations, features, train_rows, train_age) if federated else None
        # Popularity is not released here: all items count alike in the space.
        self._alike = torch.ones(self._items)
        network = sum(v.numel() for v in self.backbone.initial_network(seed).values())
        self._form = UploadForm(
            settings, features, self.backbone.width, network, self.signal_dim, federated,
            self._associations.release(0) if self._associations else None)
        self.server = Server(settings, self.backbone, features, train_rows.users, seed)

    # What leaves a client -------------------------------------------------------------------

    @property
    def releases(self) -> tuple[Release, ...]:
        """Declared releases; none where clients only train for themselves."""
        return self._form.releases

    @property
    def joint_weights(self) -> dict[str, float]:
        """Equal weights: a client's update is clipped as it is."""
        return {release.name: 1.0 for release in self.releases}

    @property
    def public_features(self) -> Mapping[str, np.ndarray]:
        """The raw features behind every view, empty for a run without any."""
        return self._features.raw

    def subspace(self, rank: int) -> dict[str, Tensor]:
        """Public orthonormal columns for the item update. Raises ValueError without features."""
        return {"item_update": self._features.subspace(rank)}

    def blocks(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Clients of like sample count, a bounded number of samples and associations a block."""
        most = self._associations.most_clients if self._associations else samples.BLOCK_SAMPLES
        return samples.blocks(ids, self._counts, most)

    # State ----------------------------------------------------------------------------------

    def initial_state(self) -> ServerState:
        """The server before round 0; item rows start from public features where asked."""
        s = self.settings
        private = s.groups.grouping == "private"
        centroids: Centroids | None = None
        if private:
            public = self._features.profile if s.groups.signal == "profile" else None
            centroids = initial_centroids(
                public, s.groups.groups, self.signal_dim, self._seed,
                s.groups.geometry == "angle")
        adapters = None
        if private and s.groups.adapter:
            adapters = torch.zeros(s.groups.groups, self._items, self.backbone.width)
        items = initial_items(s.model, self._features, self.backbone.width, self._seed)
        tables = [items] if adapters is None else [items, *adapters]
        return ServerState(
            round=0,
            items=items,
            network=self.backbone.initial_network(self._seed),
            adapters=adapters,
            average_tables=torch.stack(tables),
            centroids=centroids,
            group_users=torch.zeros(s.groups.groups, s.model.dim) if private else None,
            preference=None,
            labels=None,
        )

    def initial_clients(self) -> Clients:
        """User vectors from each client's own stream; private rows as the settings say."""
        s, n = self.settings.model, self._train.users
        ids = np.arange(n)
        user = normal(self._seed, "user", 0, ids, s.dim) * s.user_init_std
        private: Tensor | None = None
        width = self.backbone.width
        if s.private_table == "zero":
            private = torch.zeros(len(self._train.indices), width)
        elif s.private_table == "normal":
            drawn = normal(self._seed, "private", 0, ids, self._items * width)
            private = torch.from_numpy(drawn).reshape(n, self._items, width)
        start = torch.from_numpy(user)
        return Clients(start, start.clone(), torch.zeros(n, dtype=torch.long), private)

    def plan(self, state: ServerState) -> Plan:
        """Everything a client needs this round, the same for all clients."""
        active = state.round >= self.settings.groups.start_round
        return Plan(
            round=state.round,
            items=state.items,
            network=state.network,
            adapters=state.adapters if active else None,
            centroids=state.centroids,
            preference=state.preference if active else None,
            labels=state.labels,
        )

    def plan_bytes(self, plan: Plan) -> int:
        """Bytes of the broadcast, 4 a value."""
        return sum(4 * part.numel() for part in plan.tensors())

    def plan_hash(self, plan: Plan) -> bytes:
        """SHA-256 of the round's number and the broadcast."""
        return hash_tensors(plan.round, plan.tensors())

    # On the device --------------------------------------------------------------------------

    def local(self, plan: Plan, ids: np.ndarray, clients: Clients) -> tuple[Uploads, Tensor]:
        """Train clients ids [m] in place; what they upload, and their training losses [m]."""
        s = self.settings
        drawn = samples.draw_samples(
            self._train, ids, self._items, s.local, self._seed, plan.round, self._warm
        )
        who = torch.from_numpy(ids)
        signal = self._signal(plan, ids, clients)
        if plan.labels is not None:
            clients.group[who] = torch.from_numpy(plan.labels[ids]).long()
        elif signal is not None and plan.centroids is not None:
            clients.group[who] = assign(signal, plan.centroids)
        group = clients.group[who]

        shared = plan.items[drawn.items]
        if plan.adapters is not None:
            shared += plan.adapters[group[:, None], drawn.items]
        before = shared.clone()
        private = None
        if clients.private is not None:
            private = private_rows(clients, ids, drawn.items, drawn.positive)
        local = Local(
            clients.user[who].clone(), shared, private, as_networks(plan.network, len(ids))
        )
        rate = rates(s.local, plan.round, self._items)
        trace = train(
            self.backbone, local, drawn.labels, drawn.mask,
            self._teacher(plan, group, drawn.items), s.local, rate,
        )
        clients.user[who] = local.user
        clients.user_average[who] = average(
            clients.user_average[who], local.user, s.model.averaging, plan.round
        )
        factor = decay_factor(s.local, rate, trace.steps)
        if local.private is not None:
            if clients.private is not None and clients.private.dim() == 3:
                clients.private[who] *= factor[:, None, None]
            keep_private_rows(
                clients, ids, drawn.items, drawn.positive, drawn.mask, local.private
            )
        uploads = self._form.fill(plan, drawn, local, before, factor, trace.factors, signal, group)
        if self._associations is not None and plan.round == 0:
            own = self._associations.upload(ids, self._alike)
            uploads = {**uploads, ASSOCIATIONS: Dense(own)}
        return uploads, trace.loss

    def _teacher(self, plan: Plan, group: Tensor, items: Tensor) -> Teacher | None:
        s = self.settings.distillation
        if plan.preference is None or not s.weight:
            return None
        weight = s.weight
        if s.schedule == "cosine":
            weight *= math.cos(math.pi * plan.round / (2 * self._rounds))
        return Teacher(
            plan.preference[group[:, None], items], weight, s.balance == "ema_ratio"
        )

    def _signal(self, plan: Plan, ids: np.ndarray, clients: Clients) -> Tensor | None:
        if plan.centroids is None:
            return None
        if self.settings.groups.signal == "user_vector" or self._features.profile is None:
            user = clients.user[torch.from_numpy(ids)]
            return user / user.norm(dim=1, keepdim=True).clamp(min=1e-9)
        return profile(self._train, ids, self._features.profile)

    # On the server --------------------------------------------------------------------------

    def step(self, state: ServerState, totals: Totals) -> ServerState:
        """The next state; post-processing of the totals only."""
        if not self._federated:
            return replace(state, round=state.round + 1)
        return self.server.step(state, totals)

    # Checkpoints ----------------------------------------------------------------------------

    def to_saved(self, state: ServerState, clients: Clients) -> dict[str, Any]:
        """Independent copies: training goes on in place."""
        fusion = self.server.fusion.state_dict() if self.server.fusion is not None else None
        return {"state": state.state_dict(), "clients": clients.copy().state_dict(),
                "fusion": fusion}

    def from_saved(self, saved: dict[str, Any]) -> tuple[ServerState, Clients]:
        """State and clients; the fusion network is restored in place."""
        if self.server.fusion is not None:
            self.server.fusion.load_state_dict(saved["fusion"])
        return ServerState.from_state_dict(saved["state"]), Clients(**saved["clients"])

    def group_of(self, clients: Clients, ids: np.ndarray) -> np.ndarray | None:
        """The group that each of clients ids picked last [m]."""
        return clients.group[torch.from_numpy(ids)].numpy()

    def take_groups(self, clients: Clients, ids: np.ndarray, groups: np.ndarray) -> None:
        """Write the groups [m] that clients ids reported."""
        clients.group[torch.from_numpy(ids)] = torch.from_numpy(groups)

    def groups_of(self, saved: dict[str, Any]) -> tuple[str, np.ndarray, int] | None:
        """The grouping of a saved model; None without groups."""
        if self.settings.groups.grouping == "none":
            return None
        group = saved["clients"]["group"].numpy()
        return self.settings.groups.grouping, group, self.settings.groups.groups

    # Scores, on the device ------------------------------------------------------------------

    def scores(self, state: ServerState, clients: Clients, ids: np.ndarray) -> Tensor:
        """Logits of every item for clients ids [m]: [m, items]."""
        who = torch.from_numpy(ids)
        group = clients.group[who]
        out = torch.empty(len(ids), self._items)
        for g in torch.unique(group).tolist():
            member = group == g
            table = state.average_tables[0] if state.adapters is None else (
                state.average_tables[0] + state.average_tables[1 + g]
            )
            table = self.server.with_cold(state, table, g)
            user = clients.user_average[who[member]]
            networks = as_networks(state.network, len(user))
            if clients.private is not None and clients.private.dim() == 3:
                rows = table[None] + clients.private[who[member]]
                out[member] = self.backbone.logits(user, rows, networks)
            else:
                out[member] = self.backbone.scores(user, table, networks)
        if self.settings.model.profile_weight and self._features.profile is not None:
            # Standardised cosine of every item with each client's profile.
            cosine = profile_cosine(self._train, ids, unit(self._features.profile))
            out += self.settings.model.profile_weight * cosine
        return out + self._associated(state, ids)

    def _associated(self, state: ServerState, ids: np.ndarray) -> Tensor:
        """What the released associations add to scores [m, items]; 0 where there are none."""
        if self._associations is None or state.associations is None:
            return torch.zeros(1, 1)
        weight = self.settings.associations.weight
        assert weight is not None
        return weight * self._associations.scores(ids, self._alike, state.associations)

    def explain(
        self, state: ServerState, clients: Clients, ids: np.ndarray
    ) -> dict[str, Tensor]:
        """What adds up to `scores`: each modality's part by the device's profile, associations
        where there are any, and the rest."""
        linked = self._associated(state, ids)
        parts = score_parts(
            self.scores(state, clients, ids) - linked, self._train, ids, self._features,
            self.settings.model.profile_weight)
        return parts if state.associations is None else {
            **parts, ASSOCIATIONS: linked.expand(len(ids), self._items)}

    # Helpers --------------------------------------------------------------------------------

    def _signal_dim(self) -> int:
        if self.settings.groups.signal == "user_vector" or self._features.profile is None:
            return self.settings.model.dim
        return int(self._features.profile.shape[1])


def _associations(
    s: AssociationSettings, features: FeatureViews, train_rows: Rows, age: np.ndarray | None
) -> Associations | None:
    """Those that the settings ask for and the data allows."""
    if not s.weight or features.joined is None:
        return None
    return Regressed(features.space(s.rank, s.image_weight), train_rows, age, s.half_life)
