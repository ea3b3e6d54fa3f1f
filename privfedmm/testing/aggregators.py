"""The contract of an aggregator: subclass it in your tests and say how yours is made."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privacy import (
    Aggregator,
    Cohort,
    Dense,
    ProtocolError,
    Release,
    RoundAborted,
    Task,
    UploadError,
    Uploads,
)
from privacy.aggregator import Sums

CLIENTS, DIMS = 12, 5
RELEASES = (Release("a", (DIMS,)), Release("b", (3, 2), statistic=True))
_LIMIT = 50.0


class AggregatorContract:
    """Checks what every aggregator must do, with integers, which leave nothing to rounding.

    Override `made` in a subclass whose name begins with Test. min_survivors: the fewest of 12
    clients whose sum it is planned for. smallest: the fewest clients of a cohort that it sums at
    all; it refuses smaller ones. floats: whether it also sums floats.
    """

    min_survivors = 8
    smallest = 1
    floats = False

    def made(self) -> Aggregator:
        """Return a fresh aggregator for 12 clients."""
        raise NotImplementedError

    def task(
        self, min_survivors: int | None = None, clients: int = CLIENTS, **more: object
    ) -> Task:
        """Return the task of a round of 12 clients with two releases of bounded integers."""
        cohort = Cohort(0, np.arange(clients), float(CLIENTS))
        fewest = self.min_survivors if min_survivors is None else min_survivors
        return Task(cohort, RELEASES, fewest, 0, b"plan", True, _LIMIT, **more)  # type: ignore[arg-type]

    def uploads(self, ids: np.ndarray) -> Uploads:
        """Return each client's own integers, which are the same in every block."""
        rows = torch.stack([torch.arange(DIMS, dtype=torch.int32) - int(i) for i in ids])
        table = torch.stack([torch.full((3, 2), int(i) % 5 - 2, dtype=torch.int32) for i in ids])
        return {"a": Dense(rows), "b": Dense(table)}

    def expected(self, ids: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the sums over these clients."""
        return {name: part.dense().long().sum(0) for name, part in self.uploads(ids).items()}

    def played(self, task: Task, blocks: list[np.ndarray]) -> Sums:
        """Play a round in which the clients of these blocks upload, and return its sums."""
        session = self.made().open(task)
        for ids in blocks:
            session.submit(ids, self.uploads(ids))
        return session.close()

    def assert_sums(self, found: Sums, ids: np.ndarray) -> None:
        """Check that every release is the exact sum over these clients."""
        expected = self.expected(ids)
        assert found.sums.keys() == expected.keys() and found.survivors == len(ids)
        for name, total in expected.items():
            assert torch.equal(found.sums[name].long(), total), name

    def test_it_says_what_the_server_sees(self) -> None:
        """Check that the aggregator says in words, for a statement, what the server sees."""
        one = self.made()
        assert one.name.strip() and one.server_sees.strip()
        assert isinstance(one.hides_clients, bool)

    def test_sums_are_exact_whatever_the_blocks(self) -> None:
        """Check sums of uploads that come all at once, one by one, and in an order of their own."""
        everybody = np.arange(CLIENTS)
        for blocks in ([everybody], np.split(everybody, CLIENTS),
                       [np.array([7, 3, 11]), np.array([0, 1, 2, 4, 5, 6, 8, 9, 10])]):
            self.assert_sums(self.played(self.task(), list(blocks)), everybody)

    def test_bytes_are_counted(self) -> None:
        """Check that at least one byte is counted for every client: each sends something."""
        assert self.played(self.task(), [np.arange(CLIENTS)]).bytes_up >= CLIENTS

    def test_strangers_and_twins_are_refused(self) -> None:
        """Check that clients outside the cohort, and clients that come twice, are refused.

        A sum over others than the cohort, or over one of them twice, is another sum.
        """
        session = self.made().open(self.task())
        with pytest.raises((UploadError, ProtocolError)):
            session.submit(np.array([CLIENTS]), self.uploads(np.array([CLIENTS])))
        session.submit(np.array([2]), self.uploads(np.array([2])))
        with pytest.raises((UploadError, ProtocolError)):
            session.submit(np.array([2]), self.uploads(np.array([2])))

    def test_of_survivors_the_sum_is_exact_and_of_too_few_there_is_none(self) -> None:
        """Check that clients that vanish before they upload are in no sum."""
        gone = frozenset({1, 6, 9})
        alive = np.array([i for i in range(CLIENTS) if i not in gone])
        self.assert_sums(self.played(self.task(dropouts={"masked": gone}), [alive]), alive)
        many = frozenset(range(CLIENTS - self.min_survivors + 1))
        few = np.array([i for i in range(CLIENTS) if i not in many])
        with pytest.raises(RoundAborted):
            self.played(self.task(dropouts={"masked": many}), [few])

    def test_who_vanishes_after_its_upload_is_in_the_sum(self) -> None:
        """Check that a client that has uploaded may go: its vector is in, and the sum still opens.
        """
        gone = {"signature": frozenset({1, 6}), "unmask": frozenset({9})}
        everybody = np.arange(CLIENTS)
        self.assert_sums(self.played(self.task(dropouts=gone), [everybody]), everybody)

    def test_of_nobody_there_is_no_sum(self) -> None:
        """Check that there is no sum where nobody of a cohort uploads, or the cohort is empty."""
        with pytest.raises(RoundAborted):
            self.played(self.task(), [])
        with pytest.raises((RoundAborted, ProtocolError)):
            self.played(self.task(min_survivors=1, clients=0), [])

    def test_small_cohorts_are_summed_or_refused(self) -> None:
        """Check that the smallest cohort is summed, and that a single client may be refused.

        The sum over one client is its vector: whoever hides clients may refuse to make it.
        """
        few = np.arange(self.smallest)
        task = self.task(min_survivors=self.smallest, clients=self.smallest)
        self.assert_sums(self.played(task, [few]), few)
        if self.smallest > 1:
            with pytest.raises((RoundAborted, ProtocolError)):
                self.played(self.task(min_survivors=1, clients=1), [np.arange(1)])

    def test_floats_are_summed_where_they_are(self) -> None:
        """Check that floats are summed to the precision of float32, whatever the blocks."""
        if not self.floats:
            pytest.skip("it sums integers alone")
        ids = np.arange(CLIENTS)
        rows = torch.linspace(-1.0, 1.0, CLIENTS * DIMS).reshape(CLIENTS, DIMS) / 3
        table = torch.linspace(0.0, 1.0, CLIENTS * 6).reshape(CLIENTS, 3, 2) / 7
        cohort = Cohort(0, ids, float(CLIENTS))
        session = self.made().open(Task(cohort, RELEASES, self.min_survivors))
        for block in np.split(ids, 3):
            session.submit(block, {"a": Dense(rows[block]), "b": Dense(table[block])})
        found = session.close()
        for name, expected in (("a", rows.sum(0)), ("b", table.sum(0))):
            torch.testing.assert_close(found.sums[name], expected)
