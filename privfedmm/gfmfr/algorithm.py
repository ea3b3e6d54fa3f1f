"""GFMFR as an algorithm of the federation: what clients do, and what the server does with sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from privacy import Release, Totals, Uploads
from privfedmm.backbones import build
from privfedmm.base.streams import normal
from privfedmm.data.types import Rows
from privfedmm.devices import samples
from privfedmm.federation.types import Saved, hash_tensors
from privfedmm.gfmfr.checks import check
from privfedmm.gfmfr.client import Local, Teacher, as_networks, decay_factor, rates, train
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.groups import part_for
from privfedmm.gfmfr.linked import links_of
from privfedmm.gfmfr.opening import NoOpening
from privfedmm.gfmfr.private_rows import PRIVATE_ROWS
from privfedmm.gfmfr.scoring import Scoring
from privfedmm.gfmfr.server import Server
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.gfmfr.state import Clients, Plan, ServerState, average, initial_items
from privfedmm.gfmfr.trained import Trained
from privfedmm.gfmfr.uploads import Updates


class GFMFR:
    """Runs group-wise fusion over a backbone, or the backbone alone.

    The latter needs grouping `none` and no features. train_age: for each training interaction, how
    many later ones its user has; None without times. opening: what is released before training, in
    the first of the rounds. Raises ValueError for settings that do not fit together.
    """

    def __init__(
        self,
        settings: AlgorithmSettings,
        train_rows: Rows,
        features: FeatureViews,
        rounds: int,
        seed: int,
        train_age: np.ndarray | None = None,
        opening: NoOpening | None = None,
    ) -> None:
        check(settings)
        associations = settings.associations.settled(train_age is not None)
        self.settings = s = settings.model_copy(update={"associations": associations})
        self.backbone = build(s.model.backbone, s.model.dim)
        self._train = train_rows
        self._features = features
        self._items = features.num_items
        self._opening = opening or NoOpening()
        self._first = self._opening.rounds  # the round of the run in which training begins
        self._rounds = rounds - self._first
        self._seed = seed
        self._warm = samples.warm_items(train_rows, features.cold)
        trained = self._items if self._warm is None else len(self._warm.items)
        self._counts = samples.sample_counts(
            train_rows, trained, s.local.negatives_per_positive
        )
        self.server = Server(s, self.backbone, features, seed)
        self.groups = part_for(s, features, train_rows, self.server, seed)
        self._updates = Updates(
            self._items, self.backbone.width, self.server.network_size,
            bool(s.local.weight_decay_items), self.groups.kind, s.local.unit_updates)
        self._links = links_of(associations, features, train_rows, train_age, self._first)
        self._rows = PRIVATE_ROWS[s.model.private_table](
            train_rows, self._items, self.backbone.width, seed)
        self._scoring = Scoring(
            self.server, features, train_rows, s.model.profile_weight, self._rows, self._links,
            self._opening)

    # What leaves a client -------------------------------------------------------------------

    @property
    def releases(self) -> tuple[Release, ...]:
        """Return the updates of tables and network, the associations, and what groups add; before
        them, in rounds of its own, what the opening releases."""
        trained = (*self._updates.releases, *self._links.releases, *self.groups.releases)
        if not self._first:
            return trained
        return (*self._opening.releases, *(replace(r, since=self._first) for r in trained
                                           if self._rounds))

    @property
    def joint_weights(self) -> dict[str, float]:
        """Return equal weights: a client's update is clipped as it is."""
        return {release.name: 1.0 for release in self.releases}

    @property
    def public_features(self) -> Mapping[str, np.ndarray]:
        """Return the raw features behind every view, empty for a run without any."""
        return self._features.raw

    def subspace(self, rank: int) -> dict[str, Tensor]:
        """Return public orthonormal columns for the item update.

        Raises ValueError without features.
        """
        return {"item_update": self._features.subspace(rank)}

    def blocks(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Yield clients of like sample count in blocks with bounded samples and associations."""
        most = min(self._links.most_clients, self._opening.most_clients)
        return samples.blocks(ids, self._counts, most)

    # State ----------------------------------------------------------------------------------

    def initial_state(self) -> ServerState:
        """Return the server's state before round 0.

        Item rows start from public features where the settings ask for it.
        """
        begin = self.groups.beginning()
        items = initial_items(
            self.settings.model, self._features, self.backbone.width, self._seed)
        return ServerState(
            round=0,
            items=items,
            network=self.backbone.initial_network(self._seed),
            adapters=begin.adapters,
            average_tables=_tables(items, begin.adapters),
            centroids=begin.centroids,
            group_users=begin.group_users,
            preference=None,
            labels=None,
            opened=self._opening.initial_state(),
        )

    def initial_clients(self) -> Clients:
        """Draw user vectors from each client's own stream, and start private rows as settings say.
        """
        s, n = self.settings.model, self._train.users
        user = normal(self._seed, "user", 0, np.arange(n), s.dim) * s.user_init_std
        start = torch.from_numpy(user)
        return Clients(
            start, start.clone(), torch.zeros(n, dtype=torch.long), self._rows.initial(),
            self._opening.initial_clients())

    def plan(self, state: ServerState) -> Plan:
        """Return everything that a client needs this round, the same for all clients."""
        active = state.round - self._first >= self.settings.groups.start_round
        return Plan(
            round=state.round,
            items=state.items,
            network=state.network,
            adapters=state.adapters if active else None,
            centroids=state.centroids,
            preference=state.preference if active else None,
            labels=state.labels,
            opened=state.opened,
        )

    def plan_bytes(self, plan: Plan) -> int:
        """Return the number of bytes of the broadcast, 4 for each value."""
        return sum(4 * part.numel() for part in plan.tensors())

    def plan_hash(self, plan: Plan) -> bytes:
        """Return the SHA-256 of the round's number and the broadcast."""
        return hash_tensors(plan.round, plan.tensors())

    # On the device --------------------------------------------------------------------------

    def local(self, plan: Plan, ids: np.ndarray, clients: Clients) -> tuple[Uploads, Tensor]:
        """Train clients ids [m] in place, and return their uploads and training losses [m]; in the
        rounds of the opening, what it asks for."""
        if plan.round < self._first:
            return self._opening.local(plan.opened, ids, clients.opened)
        plan = replace(plan, round=plan.round - self._first)
        trained = self.train_block(plan, ids, clients)
        update, parts = self._updates.fill(plan, trained)
        parts |= self.groups.uploads(update, trained)
        return parts | self._links.upload(plan.round, ids), trained.trace.loss

    def train_block(self, plan: Plan, ids: np.ndarray, clients: Clients) -> Trained:
        """Train clients ids [m] in place, and return what uploads are made of.

        plan: of a round counted from the first of training.
        """
        s = self.settings
        drawn = samples.draw_samples(
            self._train, ids, self._items, s.local, self._seed, plan.round, self._warm
        )
        who = torch.from_numpy(ids)
        signal = self.groups.join(plan, ids, clients)
        group = clients.group[who]

        shared = plan.items[drawn.items]
        if plan.adapters is not None:
            shared += plan.adapters[group[:, None], drawn.items]
        before = shared.clone()
        local = Local(
            clients.user[who].clone(), shared, self._rows.take(clients.private, ids, drawn),
            as_networks(plan.network, len(ids)))
        rate = rates(s.local, plan.round, self._items)
        trace = train(
            self.backbone, local, drawn.labels, drawn.mask,
            self._teacher(plan, group, drawn.items), s.local, rate,
            self._opening.offset(plan.opened, clients.opened, ids, drawn.items),
        )
        clients.user[who] = local.user
        clients.user_average[who] = average(
            clients.user_average[who], local.user, s.model.averaging, plan.round
        )
        factor = decay_factor(s.local, rate, trace.steps)
        self._rows.keep(clients.private, ids, drawn, local.private, factor)
        return Trained(drawn, local, before, factor, trace, signal, group)

    def adopt(self, state: ServerState, clients: Clients, ids: np.ndarray) -> None:
        """Train clients ids [m] in place against the finished tables, as many rounds as were
        played."""
        final = self.plan(state)
        for block in self.blocks(ids):
            self._opening.adopt(state.opened, clients.opened, block)
            for round_ in range(state.round - self._first):
                self.train_block(replace(final, round=round_), block, clients)

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

    def scores(self, state: ServerState, clients: Clients, ids: np.ndarray) -> Tensor:
        """Return the logits [m, items] of every item for clients ids [m]."""
        return self._scoring.scores(state, clients, ids)

    def explain(
        self, state: ServerState, clients: Clients, ids: np.ndarray
    ) -> dict[str, Tensor]:
        """Return the parts that add up to `scores`, by name: [m, items] each."""
        return self._scoring.explain(state, clients, ids)

    # On the server --------------------------------------------------------------------------

    def step(self, state: ServerState, totals: Totals) -> ServerState:
        """Return the next state, a post-processing of the totals only."""
        if state.round < self._first:
            opened = self._opening.step(state.opened, totals)
            return replace(state, round=state.round + 1, opened=opened)
        round_ = state.round - self._first
        new = self.groups.step(replace(state, round=round_), totals)
        new.round, new.opened = state.round + 1, state.opened
        new.associations = self._links.learnt(state, totals)
        new.average_tables = average(
            state.average_tables, _tables(new.items, new.adapters),
            self.settings.model.averaging, round_)
        return new

    # Checkpoints ----------------------------------------------------------------------------

    def to_saved(self, state: ServerState, clients: Clients) -> Saved:
        """Return independent copies of state and clients, because training goes on in place.

        Tables, centroids, teacher and fusion network follow from what clients released. Labels,
        which the reference hands to every client, are one a client and stay with the devices.
        """
        fusion = self.server.fusion.state_dict() if self.server.fusion is not None else None
        fields = state.state_dict()
        labels = fields.pop("labels")
        return Saved({"state": fields, "fusion": fusion},
                     {"clients": clients.copy().state_dict(), "labels": labels})

    def from_saved(self, saved: Saved) -> tuple[ServerState, Clients]:
        """Restore state and clients; the fusion network is restored in place."""
        if self.server.fusion is not None:
            self.server.fusion.load_state_dict(saved.released["fusion"])
        # Old checkpoints have the labels among the state's fields.
        fields = {"labels": saved.devices.get("labels"), **saved.released["state"]}
        return (ServerState.from_state_dict(fields),
                Clients.from_state_dict(saved.devices["clients"]))

    def group_of(self, clients: Clients, ids: np.ndarray) -> np.ndarray | None:
        """Return the group that each of clients ids picked last [m]."""
        return clients.group[torch.from_numpy(ids)].numpy()

    def take_groups(self, clients: Clients, ids: np.ndarray, groups: np.ndarray) -> None:
        """Write the groups [m] that clients ids reported."""
        clients.group[torch.from_numpy(ids)] = torch.from_numpy(groups)

    def groups_of(self, saved: Saved) -> tuple[str, np.ndarray, int] | None:
        """Return the grouping of a saved model, or None without groups."""
        named = self.groups.named()
        if named is None:
            return None
        return named[0], saved.devices["clients"]["group"].numpy(), named[1]


def _tables(items: Tensor, adapters: Tensor | None) -> Tensor:
    """The tables that are averaged over rounds: the shared one, and each group's own part."""
    return torch.stack([items] if adapters is None else [items, *adapters])
