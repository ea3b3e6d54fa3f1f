"""What every SuperLink of ours needs: Flower's configuration, the app, and to be waited for."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from experiments.deployment.carrier import START, Shape
from experiments.deployment.processes import Processes
from privfedmm.base.files import write_text
from privfedmm.config import RunConfig
from privfedmm.federation.flower import write_app
from privfedmm.runs.run import DEPLOY

LINK = "deployment"  # the name of the connection in Flower's configuration
_NO_PROXY, _LOOPBACK = ("no_proxy", "NO_PROXY", "no_grpc_proxy"), ("localhost", "127.0.0.1", "::1")
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


def write_app_folder(
    out: Path, config: RunConfig, shape: Shape, module: str, command: str, connection: list[str],
) -> None:
    """Write the app of a run and Flower's configuration into the run folder `out`.

    connection: the lines of Flower's configuration that say how the SuperLink is reached.
    """
    root = out.absolute() / DEPLOY
    home = root / "home"
    home.mkdir(exist_ok=True)
    write_text(home / "config.toml", "\n".join([f"[superlink.{LINK}]", *connection, ""]))
    write_app(root / "app", module, {
        "nodes": len(shape.names(config)), "wait": shape.wait, "folder": str(out.absolute()),
        "root": str(root), "command": command})


def environment(root: Path) -> dict[str, str]:
    """Return the variables of every process: no telemetry, one thread, four looks a second for a
    message to start a process for, no proxy on the way to this machine itself, and a search path of
    this copy of the packages and of those that were found here."""
    places = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {"FLWR_HOME": str(root / "home"), "FLWR_TELEMETRY_ENABLED": "0",
            **no_proxy_here(), "OMP_NUM_THREADS": "1", "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",
            "PYTHONPATH": os.pathsep.join(p for p in places if p)}


def no_proxy_here() -> dict[str, str]:
    """Return the variables by which no proxy is asked for loopback, in both spellings; what they
    name already stays."""
    given = [os.environ.get(name, "") for name in _NO_PROXY]
    names = dict.fromkeys(n.strip() for text in (*given, *_LOOPBACK) for n in text.split(","))
    return dict.fromkeys(_NO_PROXY, ",".join(name for name in names if name))


def proxy_note(address: str) -> str | None:
    """Return a sentence on the proxy that a node asks for a SuperLink at host:port; None for none.

    gRPC reads these variables, the first that is set, and asks no proxy for a name that
    `no_proxy` ends with.
    """
    host = address.rpartition(":")[0].strip("[]")
    skipped = ",".join(no_proxy_here().values()).split(",")
    if any(host == name.strip() or host.endswith("." + name.strip().lstrip("."))
           for name in skipped if name.strip()):
        return None
    proxy = next((os.environ[name] for name in _PROXIES if os.environ.get(name)), None)
    return None if proxy is None else (
        f"the way to {address} goes through the proxy {proxy}, for a proxy is set here; where the "
        "SuperLink is not reached, add its name to no_proxy")


def listening(processes: Processes, port: int) -> None:
    """Wait until the SuperLink listens. Raises RuntimeError where it ended, TimeoutError where it
    does not listen in time."""
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
