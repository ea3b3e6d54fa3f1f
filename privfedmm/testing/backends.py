"""The contract of a backend: subclass it in your tests and say how yours is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from privacy import Ledger, PrivacyStack
from privacy.aggregation import Sums
from privfedmm.config import RunConfig, resolve
from privfedmm.federation import Backend, Costs, Simulator
from privfedmm.runs.run import load_data
from privfedmm.runs.session import Session

DATASET = "planted:36"


class BackendContract:
    """What every backend must do: carry the plan to the cohort, and the uploads to the stack.

    Override `made` in a subclass whose name begins with Test. method: whose uploads are carried.
    """

    method = "popularity"

    def made(self, config: RunConfig, folder: Path) -> tuple[Session, Backend]:
        """A run of a config before its first round, and the backend that is to carry it.

        folder: empty, for what the backend keeps on disk.
        """
        raise NotImplementedError

    def gathered(self, folder: Path, **flags: Any) -> tuple[Session, Sums, Costs]:
        """The sums of the first round, as this backend brings them."""
        session, backend = self.made(self.config(**flags), folder)
        cohort = session.stack.draw(session.population, 0)
        plan = session.algorithm.plan(session.state)
        sums, costs = backend.gather(
            session.algorithm, plan, session.clients, cohort, session.stack)
        return session, sums, costs

    def config(self, **flags: Any) -> RunConfig:
        """A run of 36 users, tolerant of dropouts."""
        return resolve(None, {"dataset": DATASET, "method": self.method, "seed": 5,
                              "baselines": [], "secure.dropout": 0.4, **flags})

    def test_plain_sums_are_the_sums_of_all_uploads(self, tmp_path: Path) -> None:
        """Against every client's upload added up one by one."""
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
        """Integers, so that there is nothing to round: noise and rounding follow the seed."""
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

    def test_an_abstract_one_says_what_is_missing(self, tmp_path: Path) -> None:
        """The base class carries nothing by itself."""
        with pytest.raises(NotImplementedError):
            BackendContract().made(self.config(), tmp_path)
