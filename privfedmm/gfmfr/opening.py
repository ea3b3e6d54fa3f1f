"""What GFMFR releases once before it trains: popularity, and what goes with what.

Every device fits its user's taste to it (privfedmm.statistics), which tells it how likely each item
is. Training then starts from there: that logit is added to the backbone's and held fixed, so that
the rounds, and their share of a budget, are left for what counts and content do not tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from privacy import Release, Totals, Uploads
from privfedmm.devices import samples
from privfedmm.statistics.algorithm import GroupStatistics
from privfedmm.statistics.state import StatisticsClients, StatisticsState


class NoOpening:
    """Stands for training that begins with nothing."""

    rounds = 0
    releases: tuple[Release, ...] = ()
    most_clients = samples.BLOCK_SAMPLES

    def initial_state(self) -> StatisticsState | None:
        """Return what has been released before round 0, None without an opening."""
        return None

    def initial_clients(self) -> StatisticsClients | None:
        """Return what devices hold before round 0, None without an opening."""
        return None

    def local(
        self, state: StatisticsState | None, ids: np.ndarray, clients: StatisticsClients | None
    ) -> tuple[Uploads, Tensor]:
        """Return the uploads of clients ids [m] in a round of the opening, and their losses [m];
        without one there is no such round, and nothing to send."""
        return {}, torch.zeros(len(ids))

    def step(self, state: StatisticsState | None, totals: Totals) -> StatisticsState | None:
        """Return the state after a round of the opening."""
        return None

    def adopt(
        self, state: StatisticsState | None, clients: StatisticsClients | None, ids: np.ndarray
    ) -> None:
        """Let clients ids [m] fit to what has been released."""

    def offset(
        self, state: StatisticsState | None, clients: StatisticsClients | None, ids: np.ndarray,
        items: Tensor,
    ) -> Tensor | None:
        """Return what is added to the logits of items [m, L] in training: [m, L], or None."""
        return None

    def scores(
        self, state: StatisticsState | None, clients: StatisticsClients | None, ids: np.ndarray
    ) -> Tensor:
        """Return what is added to scores [m, items]; [1, 1] of 0 without an opening."""
        return torch.zeros(1, 1)

    def explain(
        self, state: StatisticsState | None, clients: StatisticsClients | None, ids: np.ndarray
    ) -> Mapping[str, Tensor]:
        """Return the parts that add up to `scores`, by name: [m, items] each."""
        return {}


class Opening(NoOpening):
    """Plays the rounds of group statistics without groups, and hands out what they tell.

    negatives: how many items a device draws for each of its own: what it is told is a share of all
    items, and its training sees that much fewer of those that it does not have.
    """

    def __init__(self, statistics: GroupStatistics, items: int, negatives: int) -> None:
        self._statistics = statistics
        self.rounds = statistics.rounds
        self.releases = statistics.releases
        self.most_clients = statistics.most_clients
        self._drawn = math.log(items / negatives)
        self._total: Tensor | None = None  # log of each user's sum of exp(logit), NaN where unknown

    def initial_state(self) -> StatisticsState:
        """Return a state of zeros: nothing is known of anybody."""
        return self._statistics.initial_state()

    def initial_clients(self) -> StatisticsClients:
        """Return clients without a taste."""
        return self._statistics.initial_clients()

    def local(
        self, state: StatisticsState | None, ids: np.ndarray, clients: StatisticsClients | None
    ) -> tuple[Uploads, Tensor]:
        """Return the uploads of clients ids [m] in a round of the opening, and their losses [m]."""
        assert state is not None and clients is not None
        return self._statistics.local(state, ids, clients)

    def step(self, state: StatisticsState | None, totals: Totals) -> StatisticsState:
        """Return the state after a round of the opening."""
        assert state is not None
        self._total = None
        return self._statistics.step(state, totals)

    def adopt(
        self, state: StatisticsState | None, clients: StatisticsClients | None, ids: np.ndarray
    ) -> None:
        """Let clients ids [m] fit their tastes to what has been released."""
        assert state is not None and clients is not None
        self._total = None
        self._statistics.adopt(state, clients, ids)

    def offset(
        self, state: StatisticsState | None, clients: StatisticsClients | None, ids: np.ndarray,
        items: Tensor,
    ) -> Tensor:
        """Return the log odds, before training, that drawn items [m, L] are the users' own: [m, L].

        Recency and associations are left out: on validation, training against them as well was
        worse than adding them to finished scores.
        """
        assert state is not None and clients is not None
        who, device = torch.from_numpy(ids), self._statistics.device
        if self._total is None:
            self._total = torch.full((len(clients.fitted),), torch.nan)
        if bool(self._total[who].isnan().any()):
            self._total[who] = device.expected(state, clients, ids).logsumexp(1)
        at = device.expected_at(state, clients, ids, items)
        return at - self._total[who][:, None] + self._drawn

    def scores(
        self, state: StatisticsState | None, clients: StatisticsClients | None, ids: np.ndarray
    ) -> Tensor:
        """Return what the releases tell of every item [m, items]: popularity, taste, what was liked
        last, and associations."""
        assert state is not None and clients is not None
        return self._statistics.scores(state, clients, ids)

    def explain(
        self, state: StatisticsState | None, clients: StatisticsClients | None, ids: np.ndarray
    ) -> Mapping[str, Tensor]:
        """Return the parts that add up to `scores`, by name: [m, items] each."""
        assert state is not None and clients is not None
        parts = self._statistics.explain(state, clients, ids)
        return {name: part for name, part in parts.items() if name != "group"}
