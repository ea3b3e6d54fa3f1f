"""`privfedmm deploy local`: SuperLink, SuperNodes and the run, all on this machine."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import record as records
from experiments import run as runs
from experiments.config import RunConfig, resolve
from experiments.deployment import app, commands, parties
from experiments.deployment.certificates import CA
from experiments.deployment.processes import Processes, free_ports, program
from experiments.deployment.together import settle_all
from experiments.errors import ABORTED, UserError
from experiments.files import write_json, write_text
from experiments.run import DEPLOY, SHAPE
from experiments.session import Session
from privfedmm.data import Dataset
from privfedmm.federation.flower import write_app

COMMAND = "deploy local"
MARK = "PRIVFEDMM_DEPLOYMENT"
LINK = "deployment"  # the name of the connection in Flower's configuration
START, SUBMIT = 120.0, 180.0  # seconds
NOTE = (
    "a Flower SuperLink with TLS and authenticated SuperNodes, on one machine; every user is a "
    "client of the protocol with its own keys, and its rows and state are on its node alone; "
    "peak_memory_bytes is of the process that wrote the record")
ONLY = (
    "training loss, validation and test metrics, group sizes: each node computed them for its "
    "own users and reported them because it was started with experiment=true; no claim covers "
    "them, and a node without it refuses",
    "baselines, and the agreement of groups with a planted truth: computed by the experimenter, "
    "who holds all data; no party of the protocol does",
    "who answered, when, and from which address: the SuperLink sees it of nodes, not of the "
    "users behind one",
)


@dataclass(frozen=True)
class Shape:
    """nodes: SuperNodes that host users. wait: seconds an exchange may take."""

    nodes: int
    wait: float


Hook = Callable[["Deployment"], None]


@dataclass(frozen=True)
class Deployment:
    """A deployment under way; for its tests, which end a process to see what happens."""

    folder: Path
    processes: Processes
    pids: dict[str, int]
    port: int


def start(
    config: RunConfig, out: Path, shape: Shape, listen: runs.Listener,
    announce: runs.Announce = lambda lines: None, hook: Hook = lambda deployment: None,
) -> dict[str, Any]:
    """A new run in folder `out`, which must be absent or empty; its record.

    hook: called about twice a second while the run goes on. Raises UserError, with no process
    left, whatever happens.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out} exists and is not empty; name another folder, or continue "
                        f"that run with --resume {out}")
    data = runs.load_data(config)
    parties.check_carried(config, data.num_users, shape.nodes)
    root = out.absolute() / DEPLOY
    runs.open_folder(config, data, out, announce)
    root.mkdir(mode=0o700)
    settle_all(config, data, root, shape.nodes)
    write_json(root / SHAPE, {**vars(shape), "command": COMMAND})
    return _run(config, data, out, shape, listen, hook)


def resume(
    out: Path, listen: runs.Listener, hook: Hook = lambda deployment: None
) -> dict[str, Any]:
    """Continue the deployment in folder `out`; its record. Raises UserError."""
    if not (out / DEPLOY / SHAPE).exists():
        raise UserError(f"--resume: {out} holds no deployment; start one with: privfedmm deploy "
                        "local")
    if runs.deployed_by(out) != COMMAND:
        raise UserError(f"--resume: {out} was begun by another command; continue with: privfedmm "
                        f"{runs.deployed_by(out)} --resume {out}")
    if (out / runs.RECORD).exists():
        finished: dict[str, Any] = json.loads((out / runs.RECORD).read_text(encoding="utf-8"))
        return finished
    config = resolve(out / runs.CONFIG, {})
    found = json.loads((out / DEPLOY / SHAPE).read_text(encoding="utf-8"))
    shape = Shape(found["nodes"], found["wait"])
    return _run(config, runs.load_data(config), out, shape, listen, hook)


def _names(shape: Shape) -> list[str]:
    return [f"shard-{number}" for number in range(shape.nodes)]


def _run(
    config: RunConfig, data: Dataset, out: Path, shape: Shape, listen: runs.Listener, hook: Hook
) -> dict[str, Any]:
    root = out.absolute() / DEPLOY
    (root / app.OUTCOME).unlink(missing_ok=True)
    try:
        with _up(config, out, shape) as deployment:
            follow(deployment, out, root, listen, hook, COMMAND)
    except (RuntimeError, OSError, TimeoutError) as error:
        raise UserError(f"deploy: {error}; logs are in {root / 'logs'}", ABORTED) from error
    records.set_threads(config.threads)
    session = Session.start(config, data, out)
    session.restore(out, data.sha256)
    exchanges = sum(row["exchanges"] for row in
                    json.loads((root / app.EXCHANGES).read_text(encoding="utf-8")))
    carried = records.Carried("flower", shape.nodes, exchanges, NOTE, ONLY)
    return runs.conclude(session, data, out, carried)


@contextmanager
def _up(config: RunConfig, out: Path, shape: Shape) -> Iterator[Deployment]:
    """All processes, and the run submitted; on leaving none of them is left."""
    root = out.absolute() / DEPLOY
    holder = ["keyholder"] if parties.has_holder(config) else []
    names = [*_names(shape), *holder]
    port, *node_ports = free_ports(1 + len(names))
    tls = root / "tls"
    lay(out, f"127.0.0.1:{port}", len(names), shape.wait, COMMAND)
    environment = commands.environment(root / "home")
    with Processes(root / "logs", environment, (MARK, str(root))) as processes:
        pids = {"superlink": processes.start(
            "superlink", commands.superlink(tls, "127.0.0.1", port))}
        listening(processes, port)
        for name in names:
            processes.call(
                "register", commands.register(root / name / "node.pub", LINK), START)
        for name, own in zip(names, node_ports, strict=True):
            pids[name] = processes.start(
                name, node_command(root, name, port, own))
        processes.call("submit", [program("flwr"), "run", str(root / "app"), LINK], SUBMIT)
        yield Deployment(out, processes, pids, port)


def lay(out: Path, address: str, nodes: int, wait: float, command: str) -> None:
    """The app of a run and Flower's configuration, in the run folder `out`.

    address: of the SuperLink. nodes: with the key holder's. command: that continues the run.
    """
    root = out.absolute() / DEPLOY
    home = root / "home"
    home.mkdir(exist_ok=True)
    write_text(home / "config.toml", (
        f'[superlink.{LINK}]\naddress = "{address}"\n'
        f'root-certificates = "{root / "tls" / CA}"\n'))
    write_app(root / "app", "experiments.deployment.app", {
        "nodes": nodes, "wait": wait, "folder": str(out.absolute()), "root": str(root),
        "command": command})


def node_command(root: Path, name: str, port: int, own: int) -> list[str]:
    """The command of a SuperNode here; own: the port on which it serves its own ClientApps."""
    return [*commands.supernode(
        root / name, name, root / "tls" / CA, f"127.0.0.1:{port}", own, experiment=True),
        "--max-retries", "5"]


def listening(processes: Processes, port: int) -> None:
    """Return once the SuperLink listens. Raises RuntimeError, TimeoutError."""
    until = time.monotonic() + START
    while time.monotonic() < until:
        if processes.ended():
            raise RuntimeError("the SuperLink ended before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(f"the SuperLink did not listen within {START:g} s")


def follow(
    deployment: Deployment, out: Path, root: Path, listen: runs.Listener, hook: Hook, command: str
) -> None:
    """Show rounds as they are played, until the outcome is there. command: that continues it."""
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
        serving = _serving(deployment.processes)
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


def _serving(processes: Processes) -> bool:
    return any("flwr-serverapp" in command for command in processes.commands().values())
