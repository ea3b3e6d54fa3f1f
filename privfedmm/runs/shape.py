"""What a run folder says of itself before anything in it is opened."""

from __future__ import annotations

import json
from pathlib import Path

from privfedmm.base.errors import UserError
from privfedmm.config import resolve_saved
from privfedmm.runs.binding import CONFIG

DEPLOY = "deploy"  # in the folder of a deployment: its parties
SHAPE = "shape.json"  # and how many they are, and the command that goes on with them


def deployed_by(out: Path) -> str:
    """Return the privfedmm command that continues the deployment in a folder."""
    found = out / DEPLOY / SHAPE
    if not found.exists():  # it ended before it began; either command says so
        return "deploy local"
    return str(json.loads(found.read_text(encoding="utf-8")).get("command", "deploy local"))


def rounds_of(out: Path) -> int:
    """Return the rounds that the run in a folder is set to. Raises UserError where it is no run
    folder."""
    if not (out / CONFIG).exists():
        raise UserError(f"--resume: {out} is no run folder; it has no {CONFIG}")
    return resolve_saved(out / CONFIG).most_rounds
