"""The simulator, and nodes that are read anew from their folders for every message; and what the
contract says of backends that are wrong."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.deployment.journal import FileJournal
from experiments.deployment.parties import Party
from privacy import Cohort, PrivacyStack
from privacy.aggregator import Sums
from privfedmm.assemble import kinds_of
from privfedmm.config import RunConfig
from privfedmm.federation import Algorithm, Backend, Costs, Simulator
from privfedmm.federation.server import FederationServer
from privfedmm.runs.run import load_data
from privfedmm.runs.session import Session
from privfedmm.testing.backends import BackendContract
from tests.federation.conftest import settle


class TestSimulator(BackendContract):
    def made(self, config: RunConfig, folder: Path) -> tuple[Session, Backend]:
        session = Session.start(config, load_data(config))
        return session, Simulator(session.pin)


class TestNodes(BackendContract):
    def made(self, config: RunConfig, folder: Path) -> tuple[Session, Backend]:
        flags = config.model_dump(exclude_none=True)
        config, out, loop = settle(flags, folder / "deployed")
        root = out / "deploy"
        party = Party.read(root / "server")
        session = Session.start(config, party.data)
        return session, FederationServer(
            loop, party.agreed, party.known.directory, party.known.key_holder, FileJournal(root),
            party.greeting, session.planned.rounds, kinds_of(config))


def _restore(clients: Any, before: Any, ids: torch.Tensor) -> None:
    """Let clients ids hold what they held before, in states within their state too."""
    for part in fields(clients):
        value, old = getattr(clients, part.name), getattr(before, part.name)
        if is_dataclass(value):
            _restore(value, old, ids)
        elif value is not None:
            value[ids] = old[ids]


class Forgetful(Simulator):
    """Keeps what the first client of every block learnt, and loses what the others did."""

    def gather(
        self, algorithm: Algorithm, plan: Any, clients: Any, cohort: Cohort, stack: PrivacyStack
    ) -> tuple[Sums, Costs]:
        before = deepcopy(clients)
        found = super().gather(algorithm, plan, clients, cohort, stack)
        firsts = [block[0] for block in algorithm.blocks(cohort.ids)]
        others = torch.from_numpy(np.setdiff1d(cohort.ids, firsts))
        _restore(clients, before, others)
        return found


class Losing(TestSimulator):
    def made(self, config: RunConfig, folder: Path) -> tuple[Session, Backend]:
        session, _ = super().made(config, folder)
        return session, Forgetful(session.pin)


class Trusting(TestSimulator):
    """Its clients take whatever features they are given."""

    def made(self, config: RunConfig, folder: Path) -> tuple[Session, Backend]:
        session, _ = super().made(config, folder)
        return session, Simulator()


class Rounding(TestSimulator):
    """Its features came by a way that halves their precision."""

    def made(self, config: RunConfig, folder: Path) -> tuple[Session, Backend]:
        data = load_data(config)
        halved = {n: x.astype(np.float16).astype(x.dtype) for n, x in data.features.items()}
        return Session.start(config, replace(data, features=halved)), Simulator()


def test_the_contract_finds_a_block_that_is_not_its_clients(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="are not close"):
        Losing().test_a_client_in_a_block_is_a_client_alone("plain", tmp_path)


def test_the_contract_finds_features_that_are_not_the_pinned_ones(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        Trusting().test_swapped_features_reach_no_client(tmp_path)
    with pytest.raises(AssertionError):
        Rounding().test_clients_compute_with_the_features_that_the_run_pins(tmp_path)
