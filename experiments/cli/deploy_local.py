"""What `privfedmm deploy local` and `deploy simulated` do with their arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.cli.arguments import folder_of
from experiments.cli.common import tell_picked
from experiments.cli.progress import RunProgress, summary
from experiments.cli.talk import Talk
from experiments.deployment.carrier import Carrier, Shape
from experiments.deployment.carrier import resume as continued
from experiments.deployment.carrier import start as started
from experiments.deployment.local import LOCAL
from experiments.deployment.simulated import SIMULATED
from privfedmm.base.errors import UserError
from privfedmm.base.interrupts import resumable
from privfedmm.config import resolve
from privfedmm.runs.shape import rounds_of

NODES, WAIT = 3, 120.0
CARRIERS: dict[str, Carrier] = {"local": LOCAL, "simulated": SIMULATED}


def play(
    console: Talk, way: str, file: Path | None, flags: dict[str, Any], nodes: int | None,
    wait: float | None, out: Path | None, resume: Path | None, as_json: bool,
) -> None:
    """Start or continue a deployment, and show its record. Raises UserError.

    way: one of CARRIERS.
    """
    carrier = CARRIERS[way]
    if resume is not None:
        given = [name for name, value in flags.items() if value is not None]
        if given or file or out or nodes is not None or wait is not None:
            raise UserError("--resume takes the settings of the deployment it continues; give no "
                            "other option with it")
        folder, rounds = resume, rounds_of(resume)
        console.keep(folder)
        with RunProgress(console, rounds) as progress:
            record = resumable(
                lambda: continued(carrier, folder, progress), folder, carrier.command)
    else:
        config = resolve(file, flags, fixed_rounds=True)
        tell_picked(console, file, flags)
        shape = Shape(NODES if nodes is None else nodes, WAIT if wait is None else wait)
        with folder_of(out, config) as folder, RunProgress(console, config.most_rounds) as progress:
            record = resumable(
                lambda: started(carrier, config, folder, shape, progress, progress.announce),
                folder, carrier.command)
    if as_json:
        print(json.dumps({**record, "folder": str(folder)}))
    else:
        summary(console, record, str(folder))
