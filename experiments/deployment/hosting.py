"""`privfedmm deploy node`: a party's SuperNode, kept running until its owner ends it."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from experiments.deployment import flower_commands as commands
from experiments.deployment.carrier import MARK
from experiments.deployment.certificates import CA
from experiments.deployment.joining import NODE
from experiments.deployment.parties import Party
from experiments.deployment.processes import Processes, free_ports
from experiments.deployment.superlink import environment, proxy_note
from privfedmm.base.errors import UserError
from privfedmm.base.interrupts import begun

_PAUSE, _LOOK = 5.0, 0.5  # seconds


def command(folder: Path, experiment: bool) -> list[str]:
    """Return the SuperNode's command for an accepted folder. Raises UserError."""
    Party.read(folder)
    party, address = _told(folder)
    whole = folder.absolute()
    return commands.supernode(whole, party, whole / CA, address, free_ports(1)[0], experiment)


def _told(folder: Path) -> tuple[str, str]:
    """Party and address of the SuperLink. Raises UserError."""
    try:
        told = json.loads((folder / NODE).read_text(encoding="utf-8"))
        return str(told["party"]), str(told["superlink"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / NODE} does not say where the SuperLink is ({error}); write "
                        '{"party": "shard-0", "superlink": "host:8443"}') from error


def shown(folder: Path, line: list[str]) -> str:
    """Return the command as it can be typed."""
    given = environment(folder.absolute())
    return " ".join([*(f"{k}={shlex.quote(v)}" for k, v in given.items()), shlex.join(line)])


def host(folder: Path, experiment: bool, tell: Callable[[str], None]) -> None:
    """Keep a party's SuperNode running until an interrupt, and leave none of its processes.

    A SuperNode ends where the SuperLink does not know it yet, or was started anew; it is then
    started again. Raises UserError.
    """
    begun()
    line = command(folder, experiment)
    root = folder.absolute()
    logs = root / "logs"
    (root / "home").mkdir(exist_ok=True)
    tell(shown(folder, line))
    _, address = _told(folder)
    note = proxy_note(address)
    if note is not None:
        tell(note)
    tell(f"its log is {logs / 'supernode.log'}; Ctrl-C ends it")
    with Processes(logs, environment(root), (MARK, str(root))) as processes:
        while True:
            processes.start("supernode", line)
            while not processes.ended():
                time.sleep(_LOOK)
            tell(f"the SuperNode ended with {processes.ended()['supernode']}; starting it again")
            time.sleep(_PAUSE)
