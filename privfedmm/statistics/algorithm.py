"""Group statistics: popularity in one release, what groups like beyond their tastes in a second.

Round 0: each client uploads its item vector at length 1; the sum is popularity. Then every device
fits its own taste in the public feature space on top of it (tilt.py) and picks the public centroid
nearest to that taste. Round 1: it uploads, in its group's slot and again at length 1, what its own
model does not explain: interactions minus expected ones. The server shrinks each group's sum and
broadcasts all groups' corrections; a client adds its own group's. Two releases of bounded length
replace many noisy rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from privacy import Dense, Part, Release, Slotted, Totals, Touched, Uploads
from privfedmm.data.types import Rows
from privfedmm.federation.types import hash_tensors
from privfedmm.gfmfr.grouping import Centroids, assign, initial_centroids
from privfedmm.profiles import own_items, profile_cosine
from privfedmm.statistics.fusion import fuse
from privfedmm.statistics.public import PublicItems
from privfedmm.statistics.settings import StatisticsSettings
from privfedmm.statistics.tilt import BLOCK, fit_tilt

# Variance that choosing adds to a sum, in shares of its expectation: a client's unit is about a
# tenth, and the members of a group are not alike (measured on validation: .1 trusts too much).
CHOICE = 0.5


def public_groups(settings: StatisticsSettings, users: int, noise_stddev: float) -> int:
    """The number of groups: as set, or by users per unit of noise, both of which are public.

    Below 250 users a unit the second release costs more than it tells; one group for every 107.
    """
    if settings.groups is not None:
        return settings.groups
    supply = users / max(noise_stddev, 1.0)
    return 0 if supply < 250 else min(max(round(supply / 107), 5), 40)


@dataclass(frozen=True)
class StatisticsState:
    """counts [items]: released popularity. correction [K, items]: what each group adds to scores;
    zeros before their rounds. round: rounds played."""

    round: int
    counts: Tensor
    correction: Tensor


@dataclass
class StatisticsClients:
    """On the devices: group [n] int64 and taste [n, r]."""

    group: Tensor
    taste: Tensor


class GroupStatistics:
    """Popularity, on-device taste and group corrections; with fewer parts, the DP controls.

    noise_stddev: of the released sums, public. train_age: of each training interaction, how many
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
        if (groups or settings.personal != "none") and not public.modalities:
            raise ValueError("group statistics and on-device profiles need item features; give "
                             "some, or use method popularity")
        self.settings = settings
        self._train = train_rows
        self._public = public
        self._noise = noise_stddev
        self._items = public.num_items
        self._groups = groups
        self._recency: Tensor | None = None
        if train_age is not None and settings.recent_weight:
            self._recency = torch.from_numpy(
                0.5 ** (train_age / settings.recent_items)).float()
        self._centroids: Centroids | None = None
        if groups:
            self._centroids = initial_centroids(
                public.tilt_features, groups, public.tilt_features.shape[1], seed)

    @property
    def rounds(self) -> int:
        """Rounds that the method needs."""
        return 2 if self._groups else 1

    @property
    def releases(self) -> tuple[Release, ...]:
        """Popularity in round 0, group counts and residuals in round 1."""
        out = [Release("item_counts", (self._items, 1), meaning="items, at length 1", rounds=(0,))]
        if self._groups:
            k = self._groups
            out += [
                Release("group_count", (k, 1), meaning="one in the client's group", rounds=(1,),
                        statistic=True),
                Release("group_residual", (k, self._items), rounds=(1,), statistic=True,
                        meaning="interactions beyond the device's model, at length 1, by group"),
            ]
        return tuple(out)

    @property
    def public_features(self) -> Mapping[str, np.ndarray]:
        """The raw features behind tastes and fusion, empty for a run without any."""
        return self._public.raw

    @property
    def joint_weights(self) -> dict[str, float]:
        """The joint vector has length 1 in both rounds, so that a clip at 1 costs nothing."""
        count = self.settings.count_weight
        every = {"item_counts": 1.0, "group_count": count,
                 "group_residual": (1 - count**2) ** 0.5}
        return {release.name: every[release.name] for release in self.releases}

    def blocks(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Clients in order, a bounded number of scores a block."""
        for start in range(0, len(ids), BLOCK):
            yield ids[start : start + BLOCK]

    # State ----------------------------------------------------------------------------------

    def initial_state(self) -> StatisticsState:
        """Nothing is known of anybody."""
        return StatisticsState(
            0, torch.zeros(self._items), torch.zeros(max(self._groups, 1), self._items))

    def initial_clients(self) -> StatisticsClients:
        """No group and no taste yet."""
        n = self._train.users
        return StatisticsClients(
            torch.zeros(n, dtype=torch.long), torch.zeros(n, self._public.tilt_features.shape[1]))

    def plan(self, state: StatisticsState) -> StatisticsState:
        """All that is released so far, the same for every client."""
        return state

    def plan_bytes(self, plan: StatisticsState) -> int:
        """Bytes of the broadcast, 4 a value."""
        return 4 * (plan.counts.numel() + plan.correction.numel())

    def plan_hash(self, plan: StatisticsState) -> bytes:
        """SHA-256 of the round's number and the broadcast."""
        return hash_tensors(plan.round, [plan.counts, plan.correction])

    # On the device --------------------------------------------------------------------------

    def local(
        self, plan: StatisticsState, ids: np.ndarray, clients: StatisticsClients
    ) -> tuple[Uploads, Tensor]:
        """Uploads of clients ids [m], and the mean log loss of their own items [m]."""
        count = torch.from_numpy(self._train.counts[ids].astype(np.float32)).clamp(min=1)[:, None]
        if plan.round == 0:
            uniform = torch.full((len(ids),), float(np.log(self._items)))
            return {"item_counts": self._own_items(ids, count)}, uniform
        who = torch.from_numpy(ids)
        logits = self._personal(plan, clients, ids, fit=True)
        expected = torch.softmax(logits, dim=1)
        own = own_items(self._train, ids, self._items)
        loss = -(own * torch.log(expected.clamp(min=1e-30))).sum(1) / count[:, 0]
        assert self._centroids is not None
        clients.group[who] = assign(clients.taste[who], self._centroids)
        residual = own - count * expected
        residual = residual / residual.norm(dim=1, keepdim=True).clamp(min=1e-9)
        slot = clients.group[who]
        parts: dict[str, Part] = {
            "group_count": Slotted(slot, Dense(torch.ones(len(ids), 1)), self._groups),
            "group_residual": Slotted(slot, Dense(residual), self._groups),
        }
        return parts, loss

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

    def _offset(self, plan: StatisticsState) -> Tensor:
        """log popularity; the floor keeps noise on rare items from making them impossible."""
        return torch.log(plan.counts.clamp(min=0) + 1.0 + self._noise)

    def _personal(
        self, plan: StatisticsState, clients: StatisticsClients, ids: np.ndarray, fit: bool
    ) -> Tensor:
        """Logits from popularity and the device's own knowledge [m, items]."""
        offset, who = self._offset(plan), torch.from_numpy(ids)
        if self.settings.personal == "cosine":
            return offset + self._cosine(ids, None)
        if self.settings.personal == "none":
            return offset.expand(len(ids), -1)
        features = self._public.tilt_features
        if fit:
            clients.taste[who] = fit_tilt(
                self._train, ids, offset, features, self.settings.ridge, self.settings.tilt_steps)
        logits = offset + clients.taste[who] @ features.T
        if self._recency is not None:
            logits += self.settings.recent_weight * self._cosine(ids, self._recency)
        return logits

    def _cosine(self, ids: np.ndarray, weights: Tensor | None) -> Tensor:
        """Weighted sum over modalities of the cosine with the user's mean item, standardised."""
        total = torch.zeros(len(ids), self._items)
        for part in self._cosines(ids, weights).values():
            total += part
        return total

    def _cosines(self, ids: np.ndarray, weights: Tensor | None) -> dict[str, Tensor]:
        """The weighted terms of that sum, by modality."""
        s = self.settings
        return {
            name: (s.text_cosine if name == "text" else s.other_cosine)
            * profile_cosine(self._train, ids, unit, weights)
            for name, unit in self._public.modalities.items()
        }

    def scores(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray
    ) -> Tensor:
        """Logits of every item for clients ids [m]: [m, items]."""
        out = []
        for block in self.blocks(ids):
            # The taste is refitted only while popularity is newer than it.
            logits = self._personal(state, clients, block, fit=state.round == 1)
            group = clients.group[torch.from_numpy(block)]
            out.append(logits + state.correction[group])
        return torch.cat(out)

    def explain(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray
    ) -> dict[str, Tensor]:
        """What adds up to `scores`: popularity, each modality's part, the group's correction."""
        who, names = torch.from_numpy(ids), list(self._public.modalities)
        out = {"popularity": self._offset(state).expand(len(ids), -1)}
        taste = {name: torch.zeros(len(ids), self._items) for name in names}
        if self.settings.personal == "tilt":
            if state.round == 1:
                self._personal(state, clients, ids, fit=True)
            start = 0
            for name, width in self._public.widths.items():
                part = slice(start, start + width)
                taste[name] += clients.taste[who][:, part] @ self._public.tilt_features[:, part].T
                start = part.stop
            if self._recency is not None:
                for name, part_ in self._cosines(ids, self._recency).items():
                    taste[name] += self.settings.recent_weight * part_
        elif self.settings.personal == "cosine":
            taste = self._cosines(ids, None)
        out |= {f"{name} taste": part for name, part in taste.items()}
        return {**out, "group": state.correction[clients.group[who]]}

    # On the server --------------------------------------------------------------------------

    def step(self, state: StatisticsState, totals: Totals) -> StatisticsState:
        """Post-processing of the totals."""
        if state.round == 0:
            return replace(state, round=1, counts=totals.sums["item_counts"][:, 0])
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

    def to_saved(self, state: StatisticsState, clients: StatisticsClients) -> dict[str, Any]:
        """Independent copies of everything."""
        return {
            "state": dict(vars(state)),
            "clients": {name: value.clone() for name, value in vars(clients).items()},
        }

    def from_saved(self, saved: dict[str, Any]) -> tuple[StatisticsState, StatisticsClients]:
        """State and clients of `to_saved`."""
        return StatisticsState(**saved["state"]), StatisticsClients(**saved["clients"])

    def groups_of(self, saved: dict[str, Any]) -> tuple[str, np.ndarray, int] | None:
        """The groups that clients picked; None without groups."""
        if not self._groups:
            return None
        return "private", saved["clients"]["group"].numpy(), self._groups

