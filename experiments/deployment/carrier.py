"""A deployment from its folder to its record, whatever starts the processes that play it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.deployment import app, parties
from experiments.deployment.processes import Processes
from experiments.deployment.settle_local import settle_all
from privfedmm.base.errors import ABORTED, UserError
from privfedmm.base.files import write_json
from privfedmm.config import RunConfig, resolve_saved
from privfedmm.data import Dataset
from privfedmm.runs import record as records
from privfedmm.runs import run as runs
from privfedmm.runs.folder import held_folder, new_folder
from privfedmm.runs.run import DEPLOY, SHAPE
from privfedmm.runs.session import Session

MARK = "PRIVFEDMM_DEPLOYMENT"
START, SUBMIT = 120.0, 180.0  # seconds


@dataclass(frozen=True)
class Shape:
    """This is the size of a deployment.

    nodes: the number of nodes that host users. wait: the seconds that an exchange may take.
    """

    nodes: int
    wait: float

    def __post_init__(self) -> None:
        """Refuse a deployment of nobody. Raises UserError."""
        if self.nodes < 1:
            raise UserError(f"--nodes: {self.nodes} nodes host nobody; give 1 or more")
        if not self.wait > 0:
            raise UserError(f"--wait: {self.wait:g} seconds is no time for an answer; give more")

    def names(self, config: RunConfig) -> list[str]:
        """Return the folders of the nodes, with the key holder's last where one takes part."""
        holder = ["keyholder"] if parties.has_holder(config) else []
        return [*(f"shard-{number}" for number in range(self.nodes)), *holder]


Hook = Callable[["Deployment"], None]


@dataclass(frozen=True)
class Deployment:
    """This is a deployment under way. Tests end one of its processes to see what happens."""

    folder: Path
    processes: Processes
    pids: dict[str, int]
    port: int


@dataclass(frozen=True)
class Carrier:
    """A carrier starts the processes that play the rounds of a deployment.

    command: the privfedmm command that starts and continues it. check: raises UserError where this
    machine lacks what it needs. up: starts all processes and submits the run; on leaving none of
    them is left. program: a part of the command line of the process that runs the ServerApp.
    """

    command: str
    backend: str
    note: str
    only: tuple[str, ...]
    program: str
    check: Callable[[], None]
    up: Callable[[RunConfig, Path, Shape], AbstractContextManager[Deployment]]


def start(
    carrier: Carrier, config: RunConfig, out: Path, shape: Shape, listen: runs.Listener,
    announce: runs.Announce = lambda lines: None, hook: Hook = lambda deployment: None,
) -> dict[str, Any]:
    """Start a new run in folder `out`, which must be absent or empty, and return its record.

    hook: is called about twice a second while the run goes on. Raises UserError, with no process
    left, whatever happens.
    """
    with new_folder(out):
        carrier.check()
        data = _data(config)
        parties.check_carried(config, data.num_users, shape.nodes)
        config = parties.hosted_by(config, data.num_users, shape.nodes)
        root = out.absolute() / DEPLOY
        config = runs.open_folder(config, data, out, announce, deployed=True).config
        root.mkdir(mode=0o700)
        settle_all(config, data, root, shape.nodes)
        write_json(root / SHAPE, {**vars(shape), "command": carrier.command})
        return _run(carrier, config, data, out, shape, listen, hook)


def resume(
    carrier: Carrier, out: Path, listen: runs.Listener, hook: Hook = lambda deployment: None
) -> dict[str, Any]:
    """Continue the deployment in folder `out` and return its record. Raises UserError."""
    if not (out / DEPLOY / SHAPE).exists():
        raise UserError(f"--resume: {out} holds no deployment; start one with: privfedmm "
                        f"{carrier.command}")
    command = runs.deployed_by(out)
    if command != carrier.command:
        raise UserError(f"--resume: {out} was begun by another command; continue with: privfedmm "
                        f"{command} --resume {out}")
    if (out / runs.RECORD).exists():
        return runs.finished(out)
    with held_folder(out):
        carrier.check()
        config = resolve_saved(out / runs.CONFIG)
        found = json.loads((out / DEPLOY / SHAPE).read_text(encoding="utf-8"))
        shape = Shape(found["nodes"], found["wait"])
        return _run(carrier, config, _data(config), out, shape, listen, hook)


def _data(config: RunConfig) -> Dataset:
    """The run's data, ranked as nodes rank: a core of all rows is not known to them."""
    return replace(runs.load_data(config), candidates=None)


def _run(
    carrier: Carrier, config: RunConfig, data: Dataset, out: Path, shape: Shape,
    listen: runs.Listener, hook: Hook,
) -> dict[str, Any]:
    root = out.absolute() / DEPLOY
    (root / app.OUTCOME).unlink(missing_ok=True)
    try:
        with carrier.up(config, out, shape) as deployment:
            follow(deployment, out, carrier.command, carrier.program, listen, hook)
    except (RuntimeError, OSError, TimeoutError) as error:
        raise UserError(f"deploy: {error}; logs are in {root / 'logs'}", ABORTED) from error
    records.set_threads(config.threads)
    session = Session.start(config, data, out)
    session.restore(out, data.sha256)
    exchanges = sum(row["exchanges"] for row in
                    json.loads((root / app.EXCHANGES).read_text(encoding="utf-8")))
    carried = records.Carried(
        carrier.backend, shape.nodes, exchanges, carrier.note, carrier.only)
    return runs.conclude(session, data, out, carried)


def follow(
    deployment: Deployment, out: Path, command: str, program: str, listen: runs.Listener,
    hook: Hook,
) -> None:
    """Show rounds as they are played, until the outcome is there.

    command, program: those of a `Carrier`. Raises UserError, TimeoutError.
    """
    root = out.absolute() / DEPLOY
    shown, started = len(_rows(out)), time.monotonic()
    again = f"continue with: privfedmm {command} --resume {out}"
    seen = False
    while not (root / app.OUTCOME).exists():
        hook(deployment)
        rows = _rows(out)
        for row in rows[shown:]:
            listen(row)
        shown = max(shown, len(rows))
        if "superlink" in deployment.processes.ended():
            raise UserError(f"the SuperLink ended; {again}", ABORTED)
        serving = _serving(deployment.processes, program)
        if seen and not serving and not (root / app.OUTCOME).exists():
            raise UserError(f"the ServerApp ended without an outcome; {again}; its log is "
                            f"{root / 'logs' / 'superlink.log'}", ABORTED)
        seen = seen or serving
        if not seen and time.monotonic() - started > START:
            raise TimeoutError(f"no ServerApp was started within {START:g} s")
        time.sleep(0.5)
    for row in _rows(out)[shown:]:
        listen(row)
    outcome = json.loads((root / app.OUTCOME).read_text(encoding="utf-8"))
    if outcome["code"]:
        raise UserError(outcome["sentence"], outcome["code"])


def _rows(out: Path) -> list[dict[str, Any]]:
    """The rounds in rounds.jsonl; a line that is being written is left for the next look."""
    path = out / runs.ROUNDS
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _serving(processes: Processes, program: str) -> bool:
    return any(program in command for command in processes.commands().values())
