"""Ledger and released sums of a run in its folder, made durable before anything is released."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from privacy import BudgetError, Ledger, LedgerError
from privacy.dp_sgd import of_devices
from privfedmm.base.errors import PRIVACY_VIOLATION, UserError
from privfedmm.base.files import load_tensors, save_tensors
from privfedmm.privacy_plan.continuing import LEDGER, keep_in

RELEASE = "release.pt"
__all__ = ["DEVICES", "LEDGER", "RELEASE", "FileVault", "ledger_keeper", "overspent", "read_ledger"]
DEVICES, NOISY = "devices", "noisy.pt"  # a folder of what devices keep, and what noise left there


class FileVault:
    """This keeps the last round's released sums in the run folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RELEASE
        self._devices = folder / DEVICES / NOISY

    def put(self, round_: int, sums: Mapping[str, Tensor]) -> None:
        """Write the sums of a round, whole or not at all.

        What noisy training left on the devices is theirs, and goes where their half of the model
        is.
        """
        held = {name: value for name, value in sums.items() if of_devices(name)}
        if held:
            self._devices.parent.mkdir(mode=0o700, exist_ok=True)
            save_tensors(self._devices, {"round": round_, "held": held}, private=True)
        save_tensors(self._path, {
            "round": round_, "sums": {n: x for n, x in sums.items() if n not in held},
            "held": bool(held)})

    def get(self, round_: int) -> Mapping[str, Tensor] | None:
        """Read the sums of a round; None where the file is of another round.

        Raises UserError for a damaged file.
        """
        if not self._path.exists():
            return None
        try:
            saved = load_tensors(self._path)
            if saved["round"] != round_:
                return None
            sums: Mapping[str, Tensor] = saved["sums"]
            # Written before the sums: what is not of their round has been lost since.
            kept = load_tensors(self._devices) if saved.get("held") else {"held": {}}
            return {**sums, **kept["held"]} if kept.get("round", round_) == round_ else None
        except (OSError, ValueError) as error:
            raise UserError(f"--resume: {error}; start a new run") from error


def ledger_keeper(folder: Path) -> Callable[[Ledger], None]:
    """Return a function that writes a ledger to the run folder.

    It is called before anything that the ledger charges is released. It raises LedgerError where
    the run has been continued in another folder.
    """
    return lambda ledger: keep_in(folder, ledger)


def read_ledger(folder: Path) -> list[dict[str, object]]:
    """Read the rows of a run's ledger. Raises OSError or ValueError where there is none to read."""
    rows = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
    if not isinstance(rows, list):
        raise ValueError(f"{LEDGER} is not a list of entries")
    return rows


def overspent(error: BudgetError | LedgerError) -> UserError:
    """Return the error with the exit code of a privacy violation."""
    return UserError(f"privacy: {error}", PRIVACY_VIOLATION)
