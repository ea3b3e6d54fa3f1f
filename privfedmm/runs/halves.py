"""The devices' half of a run's models: a folder of its own, which a deployment's server lacks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from privfedmm.base.files import flush_folder, load_tensors, save_tensors
from privfedmm.federation import Algorithm, Saved
from privfedmm.privacy_plan.keeping import DEVICES


def save_devices(folder: Path, round_: int, now: Saved, best: Saved | None) -> None:
    """Write what devices keep after `round_` rounds, beside what they kept before.

    now, best: the model of this round and the one that is reported. Nobody but the owner can open
    folder or file.
    """
    place = folder / DEVICES
    place.mkdir(mode=0o700, exist_ok=True)
    save_tensors(_file(folder, round_), {
        "now": now.devices, "best": None if best is None else best.devices}, private=True)
    flush_folder(place)


def forget_devices(folder: Path, round_: int) -> None:
    """Remove what devices kept in other rounds than this, once the checkpoint names it."""
    for old in (folder / DEVICES).glob("round-*.pt"):
        if old != _file(folder, round_):
            old.unlink()


def of_checkpoint(
    folder: Path, saved: Mapping[str, Any], algorithm: Algorithm
) -> tuple[Saved, Saved | None]:
    """Return the last and the reported model of a checkpoint, each with both halves.

    The reported one is None where none is judged. Where devices are elsewhere their half is as
    before the first round, but for groups that they have told. Raises OSError or ValueError where
    the devices' half is missing or damaged.
    """
    if "devices" not in saved:  # from before there were two halves
        best = saved["best_model"]
        return Saved.of_old(saved["model"]), Saved.of_old(best) if best else None
    number, best = saved["devices"], saved["best_model"]
    if number is None:
        kept = _elsewhere(saved["best_groups"], algorithm)
        held = {"now": kept, "best": kept}
    elif not _file(folder, number).exists():
        raise ValueError(f"{_file(folder, number).relative_to(folder)} is not there, and without "
                         "what devices keep their users have no model")
    else:
        held = load_tensors(_file(folder, number))
    return (Saved(saved["model"], held["now"]),
            None if best is None else Saved(best, held["best"]))


def _elsewhere(groups: Any, algorithm: Algorithm) -> dict[str, Any]:
    clients = algorithm.initial_clients()
    if groups is not None:
        algorithm.take_groups(clients, np.arange(len(groups)), groups.numpy())
    return algorithm.to_saved(algorithm.initial_state(), clients).devices


def _file(folder: Path, round_: int) -> Path:
    return folder / DEVICES / f"round-{round_}.pt"
