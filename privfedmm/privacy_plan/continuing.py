"""Where a run has got to, kept outside its folder: a copy that is behind is not continued.

Two copies of one folder, both resumed, would draw two noises for one round, and the difference of
what they release is free of both. A folder cannot tell that it was copied; the user's state folder
can, on this machine and as long as it is kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from privacy import Ledger, LedgerError
from privfedmm.base.files import write_json
from privfedmm.base.state_folder import locked, state_folder

LEDGER = "ledger.json"
SIMULATED = "simulation"


class Continuation:
    """This is the place in the state folder where the end of one run's ledger is remembered.

    run: the name of the run, which its commitment says.
    """

    def __init__(self, run: str) -> None:
        self.file = state_folder() / "runs" / f"{run}.json"

    @classmethod
    def of(cls, ledger: Ledger) -> Continuation | None:
        """Return the place for a ledger; None for one that is not bound, and for noise that
        follows from the seed: of that a second draw is the first again."""
        promised = ledger.commitment
        if promised is None or promised["statement"]["noise_source"] in (SIMULATED, "none"):
            return None
        return cls(str(promised["run"]))

    def check(self, ledger: Ledger) -> None:
        """Raise LedgerError where the run has been continued elsewhere.

        Its ledger must begin with all that is remembered of it.
        """
        known = self._known()
        digests, count = ledger.digests, int(known["entries"])
        if count and (len(digests) < count or digests[count - 1] != known["head"]):
            raise LedgerError(
                f"the run was continued in {known['folder']}, to {count} entries of its ledger; "
                f"what is here, with {len(digests)}, is a copy or an earlier state that did not "
                "follow, and to go on from it would draw a second noise for one round: continue "
                "what went on, or start a new run")

    def write(self, ledger: Ledger, folder: Path) -> None:
        """Remember the end of a ledger, and in which folder it is."""
        digests = ledger.digests
        write_json(self.file, {"entries": len(digests), "head": digests[-1],
                               "folder": str(folder.absolute())})

    def _known(self) -> dict[str, Any]:
        if not self.file.exists():
            return {"entries": 0}
        try:
            known: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
            return {"entries": int(known["entries"]), "head": known["head"],
                    "folder": known["folder"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"{self.file} cannot be read ({error}), so whether the run was "
                              "continued elsewhere is not known: start a new run") from error


def keep_in(folder: Path, ledger: Ledger) -> None:
    """Write a ledger to a run folder, and remember its end.

    Raises LedgerError, with nothing written, where the run has been continued elsewhere.
    """
    place = Continuation.of(ledger)
    if place is None:
        write_json(folder / LEDGER, ledger.to_json())
        return
    with locked(place.file):
        place.check(ledger)
        write_json(folder / LEDGER, ledger.to_json())
        # Last: a run that is killed in between has released nothing, and its folder is ahead.
        place.write(ledger, folder)
