"""The contract of a backend: subclass it in your tests and say how yours is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from privacy import Ledger, PrivacyStack, Uploads
from privacy.aggregator import Sums
from privfedmm.assemble import algorithm_of
from privfedmm.config import RunConfig, resolve
from privfedmm.federation import (
    Algorithm,
    Backend,
    Costs,
    FeaturePin,
    FeaturesChangedError,
    Simulator,
    run_round,
)
from privfedmm.methods import METHODS
from privfedmm.runs.run import load_data
from privfedmm.runs.session import Session

DATASET = "planted:36"
ROUNDS = 2


@dataclass
class Seen:
    """Records what clients saw as they trained.

    blocks: how many clients trained side by side, call by call. pins: the pins of the public
    features that they computed with.
    """

    blocks: list[int] = field(default_factory=list)
    pins: set[FeaturePin] = field(default_factory=set)


class _Watched:
    """An algorithm as it is, but that it notes what its clients see. alone: blocks of one."""

    def __init__(self, inner: Algorithm, seen: Seen, alone: bool) -> None:
        self._inner, self._seen, self._alone = inner, seen, alone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def blocks(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        for block in self._inner.blocks(ids):
            yield from np.split(block, len(block)) if self._alone else [block]

    def local(self, plan: Any, ids: np.ndarray, clients: Any) -> tuple[Uploads, torch.Tensor]:
        self._seen.blocks.append(len(ids))
        self._seen.pins.add(FeaturePin.of(self._inner.public_features))
        return self._inner.local(plan, ids, clients)


@contextmanager
def watched(method: str, alone: bool = False) -> Iterator[tuple[str, Seen]]:
    """Register a method for as long as the block lasts, and record what its clients see.

    It yields the name of the method, which is there in this process alone, and the record. The
    method is `method` itself; alone: whether its clients train one by one.
    """
    seen, inner = Seen(), METHODS.get(method)
    entry = METHODS.register(replace(
        inner, name=f"watched_{method}",
        build=lambda build: _Watched(inner.build(build), seen, alone)))
    try:
        yield entry.name, seen
    finally:
        METHODS.forget(entry.name)


class BackendContract:
    """Checks that a backend carries the plan to the cohort, and the uploads to the stack.

    Override `made` in a subclass whose name begins with Test. method: the method whose uploads are
    carried. trained: a method whose clients train with public features and keep what they learn;
    settings go with it. It is watched where clients compute, which must be this process.
    """

    method = "popularity"
    trained = "gfmfr"
    # Without an opening: what devices learn is there from the first round.
    settings: ClassVar[Mapping[str, Any]] = {
        "algorithm.groups.start_round": 0, "algorithm.opening.on": False}

    def made(self, config: RunConfig, folder: Path) -> tuple[Session, Backend]:
        """Return a run of a config before its first round, and the backend that is to carry it.

        folder: an empty folder for what the backend keeps on disk.
        """
        raise NotImplementedError

    def gathered(self, folder: Path, **flags: Any) -> tuple[Session, Sums, Costs]:
        """Return the sums of the first round, as this backend brings them, with session and costs.
        """
        session, backend = self.made(self.config(**flags), folder)
        cohort = session.stack.draw(session.population, 0)
        plan = session.algorithm.plan(session.state)
        sums, costs = backend.gather(
            session.algorithm, plan, session.clients, cohort, session.stack)
        return session, sums, costs

    def config(self, **flags: Any) -> RunConfig:
        """Return the config of a run of 36 users that tolerates dropouts."""
        return resolve(None, {"dataset": DATASET, "method": self.method, "seed": 5,
                              "baselines": [], "secure.dropout": 0.4,
                              "secure.server": "semi_honest", **flags})

    def test_plain_sums_are_the_sums_of_all_uploads(self, tmp_path: Path) -> None:
        """Check the sums against every client's upload added up one by one."""
        session, sums, costs = self.gathered(tmp_path)
        fresh = Session.start(session.config, load_data(session.config))
        stack = PrivacyStack(fresh.algorithm.releases, Ledger())
        cohort = stack.draw(fresh.population, 0)
        plan = fresh.algorithm.plan(fresh.state)
        totals = {r.name: torch.zeros(r.shape) for r in stack.releases if r.in_round(0)}
        for client in cohort.ids:
            uploads, _ = fresh.algorithm.local(plan, cohort.ids[client:client + 1], fresh.clients)
            for name, part in uploads.items():
                part.add_to(totals[name])
        for name, total in totals.items():
            torch.testing.assert_close(sums.sums[name], total, rtol=1e-5, atol=1e-5)
        assert sums.survivors == fresh.population
        assert costs.bytes_up_per_client > 0 and costs.bytes_down_per_client > 0

    def test_masked_sums_are_the_simulators_to_the_last_bit(self, tmp_path: Path) -> None:
        """Check masked sums against the simulator's, bit by bit.

        They are integers, so that there is nothing to round: noise and rounding follow the seed.
        """
        flags = {"aggregation": "masked", "dp.epsilon": 2.0, "dp.trust": "distributed",
                 "dp.noise": "simulation"}
        session, sums, _ = self.gathered(tmp_path, **flags)
        other = Session.start(session.config, load_data(session.config))
        cohort = other.stack.draw(other.population, 0)
        expected, _ = Simulator().gather(
            other.algorithm, other.algorithm.plan(other.state), other.clients, cohort, other.stack)
        assert expected.sums.keys() == sums.sums.keys()
        for name, total in expected.sums.items():
            assert torch.equal(sums.sums[name], total), name

    def played(self, folder: Path, alone: bool, **flags: Any) -> tuple[Seen, dict[str, Any]]:
        """Play two rounds of the trained method.

        Returns what its clients saw, and the server's state after the rounds.
        """
        folder.mkdir()
        with watched(self.trained, alone) as (name, seen):
            config = self.config(method=name, rounds=ROUNDS, **self.settings, **flags)
            session, backend = self.made(config, folder)
            state = session.state
            for round_ in range(ROUNDS):
                state, _ = run_round(session.algorithm, backend, session.stack, state,
                                     session.clients, session.population, round_)
            return seen, session.algorithm.to_saved(state, session.clients).released["state"]

    @pytest.mark.parametrize("aggregation", ["plain", "masked"])
    def test_a_client_in_a_block_is_a_client_alone(self, aggregation: str, tmp_path: Path) -> None:
        """Check that blocks and clients alone give the same state.

        It takes two rounds, so that what a client learnt in its block is there in the next.
        """
        together, one = self.played(tmp_path / "together", False, aggregation=aggregation)
        alone, other = self.played(tmp_path / "alone", True, aggregation=aggregation)
        assert max(together.blocks) > 1 and set(alone.blocks) == {1}
        assert sum(together.blocks) == sum(alone.blocks)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)

    def test_clients_compute_with_the_features_that_the_run_pins(self, tmp_path: Path) -> None:
        """Check that clients see the pinned features value for value, in the same type and order.

        The pin is of the data as it was loaded.
        """
        seen, _ = self.played(tmp_path / "run", False)
        config = self.config(method=self.trained, **self.settings)
        fresh = Session.start(config, load_data(config))
        assert fresh.algorithm.public_features and seen.pins == {fresh.pin}

    def test_swapped_features_reach_no_client(self, tmp_path: Path) -> None:
        """Check that a server whose features have changed is refused, or clients have their own."""
        with watched(self.trained) as (name, seen):
            config = self.config(method=name, **self.settings)
            session, backend = self.made(config, tmp_path)
            data = load_data(config)
            swapped = replace(data, features={n: x[::-1] for n, x in data.features.items()})
            lying = algorithm_of(config, swapped, session.planned)
            assert FeaturePin.of(lying.public_features) != session.pin
            cohort, refused = session.stack.draw(session.population, 0), False
            try:
                backend.gather(
                    lying, lying.plan(session.state), session.clients, cohort, session.stack)
            except FeaturesChangedError:
                refused = True
        assert seen.pins == (set() if refused else {session.pin})

    def test_an_abstract_one_says_what_is_missing(self, tmp_path: Path) -> None:
        """Check that the base class carries nothing by itself."""
        with pytest.raises(NotImplementedError):
            BackendContract().made(self.config(), tmp_path)
