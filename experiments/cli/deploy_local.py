"""What `privfedmm deploy local` and `deploy simulated` do with their arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.cli.arguments import folder_of
from experiments.cli.progress import RunProgress, summary
from experiments.deployment.carrier import Carrier, Shape
from experiments.deployment.carrier import resume as continued
from experiments.deployment.carrier import start as started
from experiments.deployment.local import LOCAL
from experiments.deployment.simulated import SIMULATED
from privfedmm.base.errors import UserError
from privfedmm.base.interrupts import resumable
from privfedmm.config import resolve
from privfedmm.runs import run as runs

NODES, WAIT = 3, 120.0
CARRIERS: dict[str, Carrier] = {"local": LOCAL, "simulated": SIMULATED}


def play(
    console: Console, way: str, file: Path | None, flags: dict[str, Any], nodes: int | None,
    wait: float | None, out: Path | None, resume: Path | None, as_json: bool,
) -> None:
    """Start or continue a deployment, and show its record. Raises UserError.

    way: one of CARRIERS.
    """
    carrier = CARRIERS[way]
    if resume is not None:
        given = [name for name, value in flags.items() if value is not None]
        if given or file or out or nodes or wait:
            raise UserError("--resume takes the settings of the deployment it continues; give no "
                            "other option with it")
        folder, rounds = resume, runs.rounds_of(resume)
        with RunProgress(console, rounds) as progress:
            record = resumable(
                lambda: continued(carrier, folder, progress), folder, carrier.command)
    else:
        config = resolve(file, flags, fixed_rounds=True)
        folder, shape = folder_of(out, config), Shape(nodes or NODES, wait or WAIT)
        with RunProgress(console, config.rounds) as progress:
            record = resumable(
                lambda: started(carrier, config, folder, shape, progress, progress.announce),
                folder, carrier.command)
    if as_json:
        print(json.dumps({**record, "folder": str(folder)}))
    else:
        summary(console, record, str(folder))
