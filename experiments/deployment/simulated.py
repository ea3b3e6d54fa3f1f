"""`privfedmm deploy simulated`: the same app under Flower's simulation, where Ray is installed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.deployment import carrier
from experiments.deployment.carrier import MARK, SUBMIT, Carrier, Deployment, Shape
from experiments.deployment.processes import Processes, free_ports, program
from experiments.deployment.superlink import LINK, environment, listening, write_app_folder
from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig
from privfedmm.runs.shape import DEPLOY

COMMAND = "deploy simulated"
NOTE = (
    "Flower's simulation (Ray): all parties on one machine, started by the experimenter, who can "
    "read every row and key; no TLS and no node keys; every user is a client of the protocol with "
    "its own keys; peak_memory_bytes is of the process that wrote the record")
ONLY = (
    "every row, private key and message: all parties are processes of one machine and one owner; "
    "the claims say what the messages would tell if the parties were apart",
    "training loss, validation and test metrics, group sizes: the simulated nodes computed them "
    "for their own users and reported them; no claim covers them",
    "baselines, and the agreement of groups with a planted truth: computed by the experimenter, "
    "who holds all data; no party of the protocol does",
)


def _check() -> None:
    if find_spec("ray") is None:
        raise UserError("deploy simulated: Flower's simulation needs Ray, which is not installed; "
                        "get it with: pip install 'privfedmm[simulation]'")


@contextmanager
def _running(config: RunConfig, out: Path, shape: Shape) -> Iterator[Deployment]:
    """All processes, and the run submitted; on leaving none of them is left."""
    root = out.absolute() / DEPLOY
    (port,) = free_ports(1)
    nodes = len(shape.names(config))
    write_app_folder(out, config, shape, "experiments.deployment.simulated_app", COMMAND, [
        f'address = "127.0.0.1:{port}"', "insecure = true"])
    with (
        TemporaryDirectory(prefix="pfm-") as scratch,
        Processes(root / "logs", _environment(root, scratch), (MARK, str(root))) as processes,
    ):
        pids = {"superlink": processes.start("superlink", [
            program("flower-superlink"), "--simulation", "--insecure", "--host", "127.0.0.1",
            "--port", str(port), "--disable-runtime-dependency-installation"])}
        listening(processes, port)
        processes.call("submit", [
            program("flwr"), "run", str(root / "app"), LINK,
            "--federation-config", _resources(nodes)], SUBMIT)
        yield Deployment(out, processes, pids, port)


def _resources(nodes: int) -> str:
    """No more processes than nodes or cores, each on one core."""
    return (f"num-supernodes={nodes} client-resources-num-cpus=1 client-resources-num-gpus=0.0 "
            f"init-args-num-cpus={min(nodes, os.cpu_count() or 1)} init-args-num-gpus=0")


def _environment(root: Path, scratch: str) -> dict[str, str]:
    return {
        **environment(root),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Never a cluster elsewhere: Ray's processes read the parties' rows and keys.
        "RAY_ADDRESS": "",
        # A short path, because Ray keeps sockets there; what it writes to /tmp/ray stays for good.
        "RAY_TMPDIR": scratch,
        # Ray would listen on every interface and obey whoever calls. The name is Ray's: with 0 it
        # keeps to loopback, on any system.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


SIMULATED = Carrier(
    COMMAND, "flower simulation", NOTE, ONLY, "flwr-simulation", _check, _running)
start, resume = partial(carrier.start, SIMULATED), partial(carrier.resume, SIMULATED)
