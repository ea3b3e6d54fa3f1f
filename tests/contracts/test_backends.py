"""The simulator, and nodes that are read anew from their folders for every message."""

from __future__ import annotations

from pathlib import Path

from experiments.deployment.journal import FileJournal
from experiments.deployment.parties import Party, kinds_of
from privfedmm.config import RunConfig
from privfedmm.federation import Backend, Simulator
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
