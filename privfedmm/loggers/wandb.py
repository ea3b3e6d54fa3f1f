"""Weights & Biases: offline in the run folder, unless $WANDB_MODE says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class WandB:
    """This logger keeps a run of Weights & Biases."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the figures of a step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """End the run, with everything written or sent."""
        self._run.finish()


def opened(folder: Path, title: str, settings: Mapping[str, str]) -> WandB:
    """Begin a run of the project privfedmm. Neither code nor figures of the machine are taken."""
    import wandb

    return WandB(wandb.init(
        project="privfedmm", name=title, dir=str(folder), config=dict(settings),
        mode=os.environ.get("WANDB_MODE", "offline"), reinit="create_new",
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, save_code=False,
            x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True)))
