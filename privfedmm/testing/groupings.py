"""The contract of a grouping: subclass it in your tests and set `entry`."""

from __future__ import annotations

import hashlib
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from privfedmm.groupings import (
    ClientPicked,
    GroupingEntry,
    GroupingTerms,
    GroupSettings,
    ServerPicked,
)
from privfedmm.groupings.centroids import Centroids

CLIENTS, GROUPS, DIM, LEAST = 60, 3, 6, 4.0


class GroupingContract:
    """What every grouping must do; subclass it with a name that begins with Test.

    What its clients and server need not answer, since they never pick, is skipped with the reason.
    """

    entry: GroupingEntry

    def terms(self, signals: Tensor | None, seed: int = 5) -> GroupingTerms:
        """Terms of 3 groups over signals of 6 values."""
        return GroupingTerms(
            settings=GroupSettings(groups=GROUPS, min_size=2), signals=signals, dim=DIM, seed=seed)

    def signals(self) -> Tensor:
        """Unit signals of 60 clients [60, 6], in three clouds."""
        g = torch.Generator().manual_seed(2)
        centres = _normal(GROUPS, DIM, g)
        rows = centres[torch.arange(CLIENTS) % GROUPS] + 0.1 * _normal(CLIENTS, DIM, g)
        return rows / rows.norm(dim=1, keepdim=True)

    def by_clients(self, signals: Tensor | None = None) -> ClientPicked:
        """The grouping, where clients pick; a skip where they do not."""
        if self.entry.picked_by != "client":
            pytest.skip(f"{self.entry.name} is picked by {self.entry.picked_by}, not by clients")
        built = self.entry.build(self.terms(self.signals() if signals is None else signals))
        return cast(ClientPicked, built)

    def by_server(self) -> ServerPicked:
        """The grouping, where the server picks; a skip where it does not."""
        if self.entry.picked_by != "server":
            pytest.skip(f"{self.entry.name} is picked by {self.entry.picked_by}, not by the server")
        return cast(ServerPicked, self.entry.build(self.terms(None)))

    def test_it_says_what_it_is(self) -> None:
        """A table of groupings has a row for it; nobody's picking has nothing to build."""
        assert self.entry.summary.strip()
        built = self.entry.build(self.terms(None))
        members = {"nobody": [], "client": ["start", "pick", "move"], "server": ["labels"]}
        assert (built is None) == (self.entry.picked_by == "nobody")
        assert all(callable(getattr(built, name)) for name in members[self.entry.picked_by])

    @pytest.mark.parametrize("public", [True, False])
    def test_every_process_starts_from_the_same_centroids(self, public: bool) -> None:
        """A server and its nodes build it each for themselves, with public items or without."""
        self.by_clients()
        signals = self.signals() if public else None
        one, two = (cast(ClientPicked, self.entry.build(self.terms(signals))).start()
                    for _ in range(2))
        assert one.centres.shape == (GROUPS, DIM) and bool(torch.isfinite(one.centres).all())
        assert torch.equal(one.centres, two.centres) and torch.equal(one.mean, two.mean)

    def test_a_client_picks_by_its_own_signal_alone(self) -> None:
        """In a block it picks what it picks by itself, and leaves what was broadcast as it was."""
        grouping, signals = self.by_clients(), self.signals()
        centroids = grouping.start()
        before = _digest(centroids)
        together = grouping.pick(signals, centroids)
        assert together.shape == (CLIENTS,) and together.dtype == torch.int64
        assert bool(((together >= 0) & (together < GROUPS)).all())
        alone = torch.cat([grouping.pick(signals[i : i + 1], centroids) for i in range(CLIENTS)])
        assert torch.equal(together, alone)
        assert _digest(centroids) == before

    def test_centroids_move_by_sums_alone_and_stay_finite(self) -> None:
        """Over noise, empty groups and negative counts too: what a private sum may bring."""
        grouping, signals = self.by_clients(), self.signals()
        group = grouping.pick(signals, grouping.start())
        counts = torch.bincount(group, minlength=GROUPS).float()
        sums = torch.zeros(GROUPS, DIM).index_add_(0, group, signals)
        g = torch.Generator().manual_seed(4)
        cases = [
            (counts, sums), (torch.zeros(GROUPS), torch.zeros(GROUPS, DIM)),
            (counts + 3 * _normal(1, GROUPS, g)[0], sums + 3 * _normal(GROUPS, DIM, g)),
            (torch.full((GROUPS,), -5.0), _normal(GROUPS, DIM, g)),
        ]
        for counted, summed in cases:
            start = grouping.start()
            before = _digest(start)
            one, two = (grouping.move(start, counted, summed, LEAST) for _ in range(2))
            assert one.centres.shape == (GROUPS, DIM) and bool(torch.isfinite(one.centres).all())
            assert torch.equal(one.centres, two.centres), "the server's step must be repeatable"
            assert _digest(start) == before, "a round that is tried again starts from these"

    def test_the_centre_of_a_group_too_small_does_not_come_from_its_sum(self) -> None:
        """It would tell of the few members. It may follow the others, which the mean moves."""
        grouping = self.by_clients()
        counts = torch.tensor([40.0, 17.0, LEAST - 1])
        sums = _normal(GROUPS, DIM, torch.Generator().manual_seed(9))
        turned = torch.cat([sums[:2], -sums[2:]])
        one, two = (grouping.move(grouping.start(), counts, x, LEAST) for x in (sums, turned))
        moved = (one.centres - two.centres).norm(dim=1)
        assert float(moved[2]) <= float(moved[:2].sum() + (one.mean - two.mean).norm()) + 1e-6

    def test_the_server_names_every_client(self) -> None:
        """A label below the number of groups for each, the same again, names kept over rounds."""
        grouping, vectors = self.by_server(), self.signals().numpy()
        labels = grouping.labels(vectors, None)
        assert labels.shape == (CLIENTS,) and np.issubdtype(labels.dtype, np.integer)
        assert labels.min() >= 0 and labels.max() < GROUPS
        np.testing.assert_array_equal(labels, grouping.labels(vectors, None))
        np.testing.assert_array_equal(labels, grouping.labels(vectors, labels))


def _normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.empty(rows, columns).normal_(generator=generator)


def _digest(centroids: Centroids) -> str:
    parts = [centroids.centres.numpy().tobytes(), centroids.mean.numpy().tobytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()
