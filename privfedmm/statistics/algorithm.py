"""Group statistics: popularity, what goes with what, and what groups like beyond both.

First each client uploads its item vector at length 1; the sum is popularity. Every device fits its
own taste in the public feature space on top of it (tilt.py). Then it uploads which public features
go with which in its own items (associations.py), again at length 1. Last it picks the public
centroid nearest to its taste and uploads, in that group's slot and at length 1, what its own model
does not explain: interactions minus expected ones. The server shrinks each sum and broadcasts it; a
client adds its own group's correction. Up to three releases of bounded length replace many noisy
rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from privacy import Dense, Part, Release, Role, Slotted, Totals, Touched, Uploads
from privfedmm.data.types import Rows
from privfedmm.devices.associations import Associations, shrunken
from privfedmm.devices.profiles import own_items
from privfedmm.federation.types import Saved, hash_tensors
from privfedmm.groupings.centroids import Centroids, assign, initial_centroids
from privfedmm.statistics.device import DeviceModel
from privfedmm.statistics.fusion import fuse
from privfedmm.statistics.public import PublicItems
from privfedmm.statistics.rules import public_groups, public_rank
from privfedmm.statistics.settings import StatisticsSettings
from privfedmm.statistics.state import StatisticsClients, StatisticsState
from privfedmm.statistics.taste import BLOCK

# Variance that choosing adds to a sum, in shares of its expectation: a client's unit is about a
# tenth, and the members of a group are not alike (measured on validation: .1 trusts too much).
CHOICE = 0.5


class GroupStatistics:
    """Scores by popularity, on-device taste, associations and group corrections.

    With fewer of these parts it is one of the DP controls. noise_stddev: the public standard
    deviation of the noise on the released sums. train_age: for each training interaction, how many
    later ones its user has; None without times. Raises ValueError for groups without features.
    """

    def __init__(
        self,
        settings: StatisticsSettings,
        train_rows: Rows,
        public: PublicItems,
        seed: int,
        noise_stddev: float = 0.0,
        train_age: np.ndarray | None = None,
    ) -> None:
        groups = public_groups(settings, train_rows.users, noise_stddev)
        rank = public_rank(settings, train_rows.users, public.num_items, noise_stddev)
        if (groups or rank or settings.personal != "none") and not public.modalities:
            raise ValueError("group statistics and on-device profiles need item features; give "
                             "some, or use method popularity")
        self.settings = settings
        self._train = train_rows
        self._public = public
        self._noise = noise_stddev
        self._items = public.num_items
        self._groups = groups
        self._associations: Associations | None = None
        if rank:
            self._associations = Associations(
                public.association_features(rank), train_rows, train_age,
                settings.association_items)
        self.device = DeviceModel(
            settings, train_rows, public, self._associations, noise_stddev, train_age)
        # Round -> what is released in it.
        self._stages = ("counts", *["associations"] * bool(rank), *["groups"] * bool(groups))
        self._centroids: Centroids | None = None
        if groups:
            self._centroids = initial_centroids(
                public.tilt_features, groups, public.tilt_features.shape[1], seed)

    @property
    def most_clients(self) -> int:
        """Return the number of clients whose scores and associations may be held side by side."""
        return min(BLOCK, self._associations.most_clients) if self._associations else BLOCK

    @property
    def rounds(self) -> int:
        """Return the number of rounds that the method needs."""
        return len(self._stages)

    @property
    def releases(self) -> tuple[Release, ...]:
        """Return popularity in round 0, then associations, then group counts and residuals."""
        out = [Release("item_counts", (self._items, 1), meaning="items, at length 1", rounds=(0,),
                       role=Role.ITEM_COUNTS)]
        if self._associations:
            out.append(self._associations.release(1))
        if self._groups:
            k, last = self._groups, (len(self._stages) - 1,)
            out += [
                Release("group_count", (k, 1), meaning="one in the client's group", rounds=last,
                        statistic=True, role=Role.GROUP_MEMBERSHIP),
                Release("group_residual", (k, self._items), rounds=last, statistic=True,
                        role=Role.STATISTIC,
                        meaning="interactions beyond the device's model, at length 1, by group"),
            ]
        return tuple(out)

    @property
    def public_features(self) -> Mapping[str, np.ndarray]:
        """Return the raw features behind tastes and fusion, empty for a run without any."""
        return self._public.raw

    @property
    def joint_weights(self) -> dict[str, float]:
        """Return weights under which the joint vector has length 1 in every round.

        A clip at 1 then costs nothing.
        """
        count = self.settings.count_weight
        every = {"item_counts": 1.0, "associations": 1.0, "group_count": count,
                 "group_residual": (1 - count**2) ** 0.5}
        return {release.name: every[release.name] for release in self.releases}

    def subspace(self, rank: int) -> Mapping[str, Tensor]:
        """Return no columns: the sums are shrunk, not projected."""
        return {}

    def blocks(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the clients in order, in blocks with a bounded number of scores and associations.
        """
        for start in range(0, len(ids), self.most_clients):
            yield ids[start : start + self.most_clients]

    # State ----------------------------------------------------------------------------------

    def initial_state(self) -> StatisticsState:
        """Return a state of zeros: nothing is known of anybody."""
        rank = self._associations.rank if self._associations else 0
        return StatisticsState(
            0, torch.zeros(self._items), torch.zeros(rank, rank),
            torch.zeros(max(self._groups, 1), self._items))

    def initial_clients(self) -> StatisticsClients:
        """Return clients that have no group and no taste yet."""
        n = self._train.users
        return StatisticsClients(
            torch.zeros(n, dtype=torch.long), torch.zeros(n, self._public.tilt_features.shape[1]),
            torch.zeros(n, dtype=torch.bool))

    def plan(self, state: StatisticsState) -> StatisticsState:
        """Return all that is released so far, the same for every client."""
        return state

    def plan_bytes(self, plan: StatisticsState) -> int:
        """Return the number of bytes of the broadcast, 4 for each value."""
        return 4 * sum(part.numel() for part in plan.tensors())

    def plan_hash(self, plan: StatisticsState) -> bytes:
        """Return the SHA-256 of the round's number and the broadcast."""
        return hash_tensors(plan.round, plan.tensors())

    # On the device --------------------------------------------------------------------------

    def local(
        self, plan: StatisticsState, ids: np.ndarray, clients: StatisticsClients
    ) -> tuple[Uploads, Tensor]:
        """Return the uploads of clients ids [m], and the mean log loss of their own items [m]."""
        count = torch.from_numpy(self._train.counts[ids].astype(np.float32)).clamp(min=1)[:, None]
        if plan.round == 0:
            uniform = torch.full((len(ids),), float(np.log(self._items)))
            return {"item_counts": self._own_items(ids, count)}, uniform
        who = torch.from_numpy(ids)
        logits = self.device.logits(plan, clients, ids)
        expected = torch.softmax(logits, dim=1)
        own = own_items(self._train, ids, self._items)
        loss = -(own * torch.log(expected.clamp(min=1e-30))).sum(1) / count[:, 0]
        if self._stages[plan.round] == "associations":
            assert self._associations is not None
            return {"associations": Dense(
                self._associations.upload(ids, self.device.chances(plan)))}, loss
        self._join(clients, who)
        residual = own - count * expected
        residual = residual / residual.norm(dim=1, keepdim=True).clamp(min=1e-9)
        slot = clients.group[who]
        parts: dict[str, Part] = {
            "group_count": Slotted(slot, Dense(torch.ones(len(ids), 1)), self._groups),
            "group_residual": Slotted(slot, Dense(residual), self._groups),
        }
        return parts, loss

    def _join(self, clients: StatisticsClients, who: Tensor) -> None:
        """Let clients `who` [m] pick the centroid that is nearest to their tastes."""
        assert self._centroids is not None
        clients.group[who] = assign(clients.taste[who], self._centroids)

    def adopt(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray
    ) -> None:
        """Fit the tastes of clients ids [m] to the released popularity, and let them pick groups.
        """
        for block in self.blocks(ids):
            self.device.fit(state, clients, block)
            if self._centroids is not None and state.round == len(self._stages):
                self._join(clients, torch.from_numpy(block))

    def _own_items(self, ids: np.ndarray, count: Tensor) -> Part:
        counts = self._train.counts[ids]
        length = int(counts.max(initial=1))
        column = np.arange(length)[None, :]
        mask = column < counts[:, None]
        index = np.zeros((len(ids), length), dtype=np.int64)
        row, place = np.nonzero(mask)
        index[row, place] = self._train.indices[self._train.indptr[ids][row] + place]
        held = torch.from_numpy(mask.astype(np.float32))
        values = (held / count.sqrt())[:, :, None]
        return Touched(torch.from_numpy(index), values, held, self._items)

    def scores(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray
    ) -> Tensor:
        """Return the logits [m, items] of every item for clients ids [m]."""
        out = []
        for block in self.blocks(ids):
            logits = self.device.logits(state, clients, block)
            group = clients.group[torch.from_numpy(block)]
            out.append(logits + state.correction[group])
        return torch.cat(out)

    def explain(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray
    ) -> dict[str, Tensor]:
        """Return the parts that add up to `scores`, by name.

        They are popularity, each modality's part, associations and the group's correction.
        """
        parts = self.device.explain(state, clients, ids)
        return {**parts, "group": state.correction[clients.group[torch.from_numpy(ids)]]}

    # On the server --------------------------------------------------------------------------

    def step(self, state: StatisticsState, totals: Totals) -> StatisticsState:
        """Return the next state, a post-processing of the totals."""
        if state.round == 0:
            return replace(state, round=1, counts=totals.sums["item_counts"][:, 0])
        if self._stages[state.round] == "associations":
            matrix = shrunken(totals.sums["associations"],
                              totals.noise_stddev.get("associations", 0.0))
            return replace(state, round=state.round + 1, associations=matrix)
        counts = totals.sums["group_count"]
        share = counts.clamp(min=1.0) / totals.cohort
        correction = self._shrunken(
            totals.sums["group_residual"], share * state.counts.clamp(min=0)[None])
        # A group too small to hide its members, or within noise of it, is not broadcast.
        least = self.settings.min_size + 3 * totals.noise_stddev.get("group_count", 0.0)
        correction = correction * (counts >= least)
        return replace(state, round=state.round + 1, correction=correction)

    def _shrunken(self, sums: Tensor, expected: Tensor) -> Tensor:
        """Posterior mean of each group's relative preference for an item [K, items].

        A sum is expected x preference + noise, whose variance is that of the mechanism plus that of
        choosing.
        """
        weight = (1 - self.settings.count_weight**2) ** 0.5
        variance = (self._noise / weight) ** 2 + CHOICE * expected + 1e-6
        return fuse(
            sums, expected, variance, self._public.fusion_features,
            self.settings.fused_std, self.settings.item_std,
        ).clamp(-1.0, 1.5)

    # Checkpoints ----------------------------------------------------------------------------

    def to_saved(self, state: StatisticsState, clients: StatisticsClients) -> Saved:
        """Return independent copies: of the released sums, and of tastes and groups."""
        return Saved(
            {"state": dict(vars(state))},
            {"clients": {name: value.clone() for name, value in vars(clients).items()}})

    def from_saved(self, saved: Saved) -> tuple[StatisticsState, StatisticsClients]:
        """Restore state and clients from what `to_saved` returned."""
        return (StatisticsState(**saved.released["state"]),
                StatisticsClients(**saved.devices["clients"]))

    def group_of(self, clients: StatisticsClients, ids: np.ndarray) -> np.ndarray | None:
        """Return the group that each of clients ids picked last [m]."""
        return clients.group[torch.from_numpy(ids)].numpy()

    def take_groups(self, clients: StatisticsClients, ids: np.ndarray, groups: np.ndarray) -> None:
        """Write the groups [m] that clients ids reported."""
        clients.group[torch.from_numpy(ids)] = torch.from_numpy(groups)

    def groups_of(self, saved: Saved) -> tuple[str, np.ndarray, int] | None:
        """Return the groups that clients picked, or None without groups."""
        if not self._groups:
            return None
        # Centroids of the grouping `private` that never move; no setting chooses another.
        return "private", saved.devices["clients"]["group"].numpy(), self._groups
