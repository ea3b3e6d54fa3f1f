"""`privfedmm deploy local`: SuperLink, SuperNodes and the run, all on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from experiments.deployment import carrier
from experiments.deployment import flower_commands as commands
from experiments.deployment.carrier import (
    MARK,
    START,
    SUBMIT,
    Carrier,
    Deployment,
    Hook,
    Shape,
)
from experiments.deployment.certificates import CA
from experiments.deployment.processes import Processes, free_ports, program
from experiments.deployment.superlink import LINK, environment, listening, write_app_folder
from privfedmm.config import RunConfig
from privfedmm.runs.shape import DEPLOY

__all__ = ["LOCAL", "MARK", "Deployment", "Hook", "Shape", "node_command", "resume", "start"]
COMMAND = "deploy local"
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


def _check() -> None:
    """Flower itself is no extra."""


@contextmanager
def _running(config: RunConfig, out: Path, shape: Shape) -> Iterator[Deployment]:
    """All processes, and the run submitted; on leaving none of them is left."""
    root = out.absolute() / DEPLOY
    names = shape.names(config)
    port, *node_ports = free_ports(1 + len(names))
    tls = root / "tls"
    write_app_folder(out, config, shape, "experiments.deployment.app", COMMAND, [
        f'address = "127.0.0.1:{port}"', f'root-certificates = "{tls / CA}"'])
    with Processes(root / "logs", environment(root), (MARK, str(root))) as processes:
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


def node_command(root: Path, name: str, port: int, own: int) -> list[str]:
    """Return the command of a SuperNode here; own: the port on which it serves its own
    ClientApps."""
    return [*commands.supernode(
        root / name, name, root / "tls" / CA, f"127.0.0.1:{port}", own, experiment=True),
        "--max-retries", "5"]


LOCAL = Carrier(COMMAND, "flower", NOTE, ONLY, "flwr-serverapp", _check, _running)
start, resume = partial(carrier.start, LOCAL), partial(carrier.resume, LOCAL)
