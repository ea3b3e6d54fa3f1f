"""The contract of a grouping: subclass it in your tests and set `entry`."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast

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

Shape: TypeAlias = tuple[int, int, Literal["angle", "distance"]]
CLIENTS, LEAST = 60, 4.0
# Groups, values of a signal, and how centroids are compared.
SHAPES: tuple[Shape, ...] = (
    (3, 6, "angle"), (2, 4, "distance"), (5, 8, "angle"))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
class GroupingContract:
    """Checks what every grouping must do; subclass it with a name that begins with Test.

    What its clients or server need not answer, since they never pick, is skipped with the reason.
    """

    entry: GroupingEntry

    def terms(self, shape: Shape, signals: Tensor | None, seed: int = 5) -> GroupingTerms:
        """Return the terms of a grouping for a shape."""
        groups, dim, geometry = shape
        settings = GroupSettings(groups=groups, geometry=geometry, min_size=2)
        return GroupingTerms(settings=settings, signals=signals, dim=dim, seed=seed)

    def signals(self, shape: Shape, noise: float = 0.1) -> Tensor:
        """Return unit signals of 60 clients [60, D] in clouds; the last is 0, which tells nothing.
        """
        groups, dim, _ = shape
        g = torch.Generator().manual_seed(2)
        centres = _normal(groups, dim, g)
        rows = centres[torch.arange(CLIENTS) % groups] + noise * _normal(CLIENTS, dim, g)
        rows[-1] = 0
        return _unit(rows)

    def by_clients(self, shape: Shape, public: bool = True) -> ClientPicked:
        """Return the grouping where clients pick, and skip the test where they do not."""
        if self.entry.picked_by != "client":
            pytest.skip(f"{self.entry.name} is picked by {self.entry.picked_by}, not by clients")
        terms = self.terms(shape, self.signals(shape) if public else None)
        return cast(ClientPicked, self.entry.build(terms))

    def by_server(self, shape: Shape) -> ServerPicked:
        """Return the grouping where the server picks, and skip the test where it does not."""
        if self.entry.picked_by != "server":
            pytest.skip(f"{self.entry.name} is picked by {self.entry.picked_by}, not by the server")
        return cast(ServerPicked, self.entry.build(self.terms(shape, None)))

    def test_it_says_what_it_is(self, shape: Shape) -> None:
        """Check that a table of groupings has a summary for it, and that `build` gives the members.

        A grouping that nobody picks has nothing to build.
        """
        assert self.entry.summary.strip()
        built = self.entry.build(self.terms(shape, None))
        members = {"nobody": [], "client": ["start", "pick", "move"], "server": ["labels"]}
        assert (built is None) == (self.entry.picked_by == "nobody")
        assert all(callable(getattr(built, name)) for name in members[self.entry.picked_by])

    @pytest.mark.parametrize("public", [True, False])
    def test_every_process_starts_from_the_same_centroids(
        self, shape: Shape, public: bool
    ) -> None:
        """Check that two builds start alike, with public items or without.

        A server and its nodes build the grouping each for themselves.
        """
        one, two = (self.by_clients(shape, public).start() for _ in range(2))
        _assert_sound(one, shape)
        assert _same(one, two)

    def test_a_client_picks_by_its_own_signal_alone(self, shape: Shape) -> None:
        """Check that a client picks the same by itself as in a block.

        What was broadcast must stay as it was.
        """
        grouping, signals = self.by_clients(shape), self.signals(shape)
        centroids, given = grouping.start(), signals.clone()
        before = _copy(centroids)
        together = grouping.pick(signals, centroids)
        assert together.shape == (CLIENTS,) and together.dtype == torch.int64
        assert bool(((together >= 0) & (together < shape[0])).all())
        alone = torch.cat([grouping.pick(signals[i : i + 1], centroids) for i in range(CLIENTS)])
        assert torch.equal(together, alone)
        assert torch.equal(signals, given) and _same(centroids, before)

    def test_clients_that_are_alike_are_together(self, shape: Shape) -> None:
        """Check that twins are always together, and that not everybody is in one group."""
        grouping, signals = self.by_clients(shape), self.signals(shape)
        start = grouping.start()
        group = grouping.pick(signals, start)
        assert torch.equal(group, grouping.pick(signals.clone(), start))
        assert len(group.unique()) > 1

    def test_centroids_move_by_sums_alone_and_stay_finite(self, shape: Shape) -> None:
        """Check the move over noise, empty groups and negative counts too.

        A private sum may bring all of these.
        """
        grouping, signals, (groups, dim, _) = self.by_clients(shape), self.signals(shape), shape
        group = grouping.pick(signals, grouping.start())
        counts = torch.bincount(group, minlength=groups).float()
        sums = torch.zeros(groups, dim).index_add_(0, group, signals)
        g = torch.Generator().manual_seed(4)
        cases = [
            (counts, sums), (torch.zeros(groups), torch.zeros(groups, dim)),
            (counts + 3 * _normal(1, groups, g)[0], sums + 3 * _normal(groups, dim, g)),
            (torch.full((groups,), -5.0), _normal(groups, dim, g)),
        ]
        for counted, summed in cases:
            start, given = grouping.start(), (counted.clone(), summed.clone())
            before = _copy(start)
            one, two = (grouping.move(start, counted, summed, LEAST) for _ in range(2))
            _assert_sound(one, shape)
            assert _same(one, two), "the server's step must be repeatable"
            assert _same(start, before), "a round that is tried again starts from these"
            assert torch.equal(counted, given[0]) and torch.equal(summed, given[1])

    def test_what_a_client_picks_does_not_hang_on_earlier_calls(self, shape: Shape) -> None:
        """Check that a node that has seen other rounds, or none, picks the same.

        The centroids are the same in both cases.
        """
        old, new = self.by_clients(shape), self.by_clients(shape)
        signals, (groups, dim, _) = self.signals(shape), shape
        counts = torch.full((groups,), CLIENTS / groups)
        sums = counts[:, None] * _unit(_normal(groups, dim, torch.Generator().manual_seed(8)))
        start = old.start()
        old.pick(signals, start)
        later = old.move(start, counts, sums, LEAST)
        assert torch.equal(old.pick(signals, later), new.pick(signals, later))

    def test_the_centre_of_a_group_too_small_does_not_come_from_its_sum(
        self, shape: Shape
    ) -> None:
        """Check that the centre of a group too small does not move with its sum.

        It would tell of the few members. It may follow the others, which the mean moves.
        """
        grouping, (groups, dim, _) = self.by_clients(shape), shape
        counts = torch.full((groups,), 20.0)
        counts[-1] = LEAST - 1
        sums = counts[:, None] * _unit(_normal(groups, dim, torch.Generator().manual_seed(9)))
        turned = torch.cat([sums[:-1], -sums[-1:]])
        one, two = (grouping.move(grouping.start(), counts, x, LEAST) for x in (sums, turned))
        moved = (one.centres - two.centres).norm(dim=1)
        others = moved[:-1].sum() + (one.mean - two.mean).norm()
        assert float(moved[-1]) <= float(others) + 1e-6

    def test_the_server_names_every_client(self, shape: Shape) -> None:
        """Check that each client has a label below the number of groups, and the same again."""
        grouping, vectors = self.by_server(shape), self.signals(shape).numpy()
        given = vectors.copy()
        labels = grouping.labels(vectors, None)
        assert labels.shape == (CLIENTS,) and np.issubdtype(labels.dtype, np.integer)
        assert labels.min() >= 0 and labels.max() < shape[0]
        np.testing.assert_array_equal(labels, grouping.labels(vectors, None))
        np.testing.assert_array_equal(vectors, given)

    def test_groups_keep_their_names_over_rounds(self, shape: Shape) -> None:
        """Check that most clients keep their labels where they have moved a little.

        That must hold whatever the names were.
        """
        grouping, vectors = self.by_server(shape), self.signals(shape).numpy()
        first = grouping.labels(vectors, None)
        renamed = (first + 1) % shape[0]
        later = grouping.labels(self.signals(shape, noise=0.12).numpy(), renamed)
        assert (later == renamed).mean() > 0.8


def _assert_sound(centroids: Centroids, shape: Shape) -> None:
    # A class of its own would neither travel nor come back from a checkpoint.
    assert type(centroids) is Centroids
    groups, dim, _ = shape
    for part, size in ((centroids.centres, (groups, dim)), (centroids.mean, (dim,))):
        assert part.dtype == torch.float32 and part.shape == size
        assert bool(torch.isfinite(part).all())


def _same(one: Centroids, two: Centroids) -> bool:
    return torch.equal(one.centres, two.centres) and torch.equal(one.mean, two.mean)


def _copy(one: Centroids) -> Centroids:
    return Centroids(one.centres.clone(), one.mean.clone(), one.angular)


def _normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.empty(rows, columns).normal_(generator=generator)


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-9)
