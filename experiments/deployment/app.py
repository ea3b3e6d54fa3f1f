"""The Flower app: `server` plays the rounds of a run, `client` answers for one node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from experiments.deployment.journal import FileJournal
from experiments.deployment.parties import Party
from privfedmm.assemble import kinds_of
from privfedmm.base.errors import UserError
from privfedmm.base.files import write_json
from privfedmm.evaluation import Ranks
from privfedmm.federation.flower import Settings, client_app, server_app
from privfedmm.federation.server import FederationServer
from privfedmm.federation.transport import Transport
from privfedmm.runs import record as records
from privfedmm.runs import run as runs
from privfedmm.runs.session import CHECKPOINT, Session

OUTCOME, EXCHANGES = "outcome.json", "exchanges.json"


def answer(kind: str, body: bytes, settings: Settings) -> bytes:
    """Return the answer of the node that has these settings (its --node-config) to a message."""
    folder = settings.get("run-dir")
    if not isinstance(folder, str):
        raise UserError('--node-config: give the node its folder, as run-dir="/path"')
    party = Party.read(Path(folder))
    records.set_threads(party.config.threads)
    if settings.get("role") == "keyholder":
        return party.holder().handle(kind, body)
    return party.node(bool(settings.get("experiment", False))).handle(kind, body)


def serve(transport: Transport, settings: Settings) -> None:
    """Play the rounds that are left, and leave the outcome beside the server's folder."""
    folder, root = Path(str(settings["folder"])), Path(str(settings["root"]))
    try:
        play(transport, folder, root, str(settings["command"]))
    except UserError as error:
        write_json(root / OUTCOME, {"code": error.code, "sentence": str(error)})
        raise
    write_json(root / OUTCOME, {"code": 0, "sentence": ""})


def play(
    transport: Transport, folder: Path, root: Path, command: str = "deploy local"
) -> FederationServer:
    """Play the rounds that are left in a run folder, with the server's folder under `root`.

    command: the privfedmm command by which the run is continued.
    """
    party = Party.read(root / "server")
    records.set_threads(party.config.threads)
    session = Session.start(party.config, party.data, folder, deployed=True)
    if not (folder / CHECKPOINT).exists():
        runs.begin(session, party.data, folder)
    session.restore(folder, party.data.sha256)
    journal = FileJournal(root)
    server = FederationServer(
        transport, party.agreed, party.known.directory, party.known.key_holder, journal,
        party.greeting, session.planned.rounds, kinds_of(party.config))
    try:
        runs.play(session, party.data.sha256, folder, lambda row: _note(server, root),
                  runs.Means(server, partial(_ranks, server), command))
        journal.finished()
    finally:
        _note(server, root)
    return server


def _ranks(server: FederationServer, session: Session) -> Mapping[str, Ranks]:
    """Ranks of the held-out items; none where no node is part of an experiment."""
    return server.ranks(session.algorithm, session.state, session.clients)


def _note(server: FederationServer, root: Path) -> None:
    rows: list[dict[str, Any]] = [asdict(log) for log in server.log]
    write_json(root / EXCHANGES, rows)


server = server_app(serve)
client = client_app(answer)
