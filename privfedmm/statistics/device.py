"""What a device makes of the releases and of its own user's items: logits, and their parts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privfedmm.data.types import Rows
from privfedmm.devices.associations import Associations
from privfedmm.devices.profiles import profile_cosine
from privfedmm.statistics.public import PublicItems
from privfedmm.statistics.rules import public_weight
from privfedmm.statistics.settings import StatisticsSettings
from privfedmm.statistics.state import StatisticsClients, StatisticsState
from privfedmm.statistics.taste import fit_tilt


class DeviceModel:
    """Computes the logits of all items from popularity, the user's taste and the associations.

    noise_stddev: the public standard deviation of the noise on the released sums. train_age: for
    each training interaction, how many later ones its user has; None without times.
    """

    def __init__(
        self, settings: StatisticsSettings, train_rows: Rows, public: PublicItems,
        associations: Associations | None, noise_stddev: float, train_age: np.ndarray | None,
    ) -> None:
        self._settings, self._train, self._public = settings, train_rows, public
        self._associations, self._noise = associations, noise_stddev
        self._recency: Tensor | None = None
        if train_age is not None and settings.recent_weight:
            self._recency = torch.from_numpy(
                0.5 ** (train_age / settings.recent_items)).float()

    def chances(self, state: StatisticsState) -> Tensor:
        """Return the popularity [items] with a floor.

        The floor keeps noise on rare items from making them impossible.
        """
        return state.counts.clamp(min=0) + 1.0 + self._noise

    def popularity(self, state: StatisticsState) -> Tensor:
        """Return the logit of each item before anything is known of a user [items].

        It is the log of its chances times the share of the counts' spread that is not noise (a
        Wiener factor): what noise has drowned leaves a user's taste alone.
        """
        logits = torch.log(self.chances(state))
        if self._settings.personal == "none" or not self._settings.shrink_popularity:
            return logits
        spread = float(state.counts.var(correction=0))
        return logits * max(0.0, 1 - self._noise**2 / max(spread, 1e-12))

    def logits(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray
    ) -> Tensor:
        """Return the logits [m, items] of clients ids, and fit their tastes where they are not yet.
        """
        logits = self.expected(state, clients, ids)
        if self._settings.personal == "tilt" and self._recency is not None:
            logits += self._settings.recent_weight * self._cosine(ids, self._recency)
        return logits + self._associated(state, ids)

    def expected(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray
    ) -> Tensor:
        """Return the logits [m, items] without what was liked last and without associations.

        Tastes are fitted where they are not yet.
        """
        offset, who, s = self.popularity(state), torch.from_numpy(ids), self._settings
        if s.personal == "cosine":
            return offset + self._cosine(ids, None)
        if s.personal == "none":
            return offset.repeat(len(ids), 1)
        self._fit(state, clients, ids, offset)
        return offset + clients.taste[who] @ self._public.tilt_features.T

    def expected_at(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray, items: Tensor
    ) -> Tensor:
        """Return `expected` at items [m, L] alone: [m, L]."""
        offset, who, s = self.popularity(state), torch.from_numpy(ids), self._settings
        if s.personal == "cosine":
            return self.expected(state, clients, ids).gather(1, items)
        if s.personal == "none":
            return offset[items]
        self._fit(state, clients, ids, offset)
        rows = self._public.tilt_features[items]
        return offset[items] + torch.bmm(rows, clients.taste[who][:, :, None])[:, :, 0]

    def fit(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray
    ) -> None:
        """Fit the tastes of clients ids where they are not yet, without scoring anything."""
        if self._settings.personal == "tilt":
            self._fit(state, clients, ids, self.popularity(state))

    def _fit(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray, offset: Tensor
    ) -> None:
        """Fit the tastes of clients ids, once, when popularity is there."""
        who, s = torch.from_numpy(ids), self._settings
        if state.round and not bool(clients.fitted[who].all()):
            clients.taste[who] = fit_tilt(
                self._train, ids, offset, self._public.tilt_features, s.ridge, s.tilt_steps)
            clients.fitted[who] = True

    def explain(
        self, state: StatisticsState, clients: StatisticsClients, ids: np.ndarray
    ) -> dict[str, Tensor]:
        """Return the parts that add up to `logits`, by name.

        They are popularity, each modality's taste, and associations.
        """
        self.fit(state, clients, ids)
        who, items = torch.from_numpy(ids), self._public.num_items
        out = {"popularity": self.popularity(state).expand(len(ids), -1)}
        taste = {name: torch.zeros(len(ids), items) for name in self._public.modalities}
        if self._settings.personal == "tilt":
            start = 0
            for name, width in self._public.widths.items():
                part = slice(start, start + width)
                taste[name] += clients.taste[who][:, part] @ self._public.tilt_features[:, part].T
                start = part.stop
            if self._recency is not None:
                for name, cosine in self._cosines(ids, self._recency).items():
                    taste[name] += self._settings.recent_weight * cosine
        elif self._settings.personal == "cosine":
            taste = self._cosines(ids, None)
        out |= {f"{name} taste": part for name, part in taste.items()}
        if self._associations is not None:
            out["associations"] = self._associated(state, ids).expand(len(ids), items)
        return out

    def _associated(self, state: StatisticsState, ids: np.ndarray) -> Tensor:
        """What the released associations add [m, items]; 0 before there are any."""
        if self._associations is None or state.round < 2:
            return torch.zeros(1, 1)
        weight = public_weight(self._settings, self._train.users, self._noise)
        return weight * self._associations.scores(
            ids, self.chances(state), state.associations)

    def _cosine(self, ids: np.ndarray, weights: Tensor | None) -> Tensor:
        """Weighted sum over modalities of the cosine with the user's mean item, standardised."""
        total = torch.zeros(len(ids), self._public.num_items)
        for part in self._cosines(ids, weights).values():
            total += part
        return total

    def _cosines(self, ids: np.ndarray, weights: Tensor | None) -> dict[str, Tensor]:
        """The weighted terms of that sum, by modality."""
        s = self._settings
        return {
            name: (s.text_cosine if name == "text" else s.other_cosine)
            * profile_cosine(self._train, ids, unit, weights)
            for name, unit in self._public.modalities.items()
        }
