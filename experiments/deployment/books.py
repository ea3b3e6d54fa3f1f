"""What the users of nodes have spent, by the ledgers that the nodes keep for themselves."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.deployment.joining import USERS
from experiments.deployment.parties import Kept, Party
from experiments.deployment.party_files import DATA, KNOWN, STATE
from privacy.composition import composed
from privacy.device_ledger import Attended, DeviceLedger
from privacy.errors import ProtocolError
from privfedmm.assemble import kinds_of
from privfedmm.base.errors import UserError
from privfedmm.base.files import finite

# A delta to compose runs at that promised nothing and so have none of their own.
_DELTA = 1e-5


@dataclass(frozen=True)
class Book:
    """What a node's users have spent in one run.

    run: the name of the run. trust: whom it trusts. names: the users' ids, by their numbers.
    """

    folder: Path
    run: str
    trust: str
    ledger: DeviceLedger
    names: dict[int, str]

    @classmethod
    def read(cls, folder: Path) -> Book:
        """Read the book of a node's folder. Raises UserError where there is none."""
        party = Party.read(folder)
        state = Kept(folder / STATE, kinds_of(party.config)).load()
        dp = party.config.dp
        try:
            ledger = DeviceLedger(None) if state is None else (
                DeviceLedger.from_state(state["ledger"]))
            with (folder / USERS).open(encoding="utf-8", newline="") as lines:
                names = {int(row["number"]): row["user_id"] for row in csv.DictReader(lines)}
        except (OSError, KeyError, ValueError, ProtocolError) as error:
            raise UserError(f"folder: {folder} holds no ledger of a node ({error})") from error
        return cls(folder, party.known.run.hex(), dp.trust if dp else "none", ledger, names)

    @property
    def delta(self) -> float | None:
        """Return the delta of the run's budget, None where nothing is promised."""
        return self.ledger.budget.delta if self.ledger.budget else None

    def of(self, user: str) -> list[Attended]:
        """Return the attempts that a user is charged for."""
        numbers = {n for n, name in self.names.items() if name == user}
        return [entry for entry in self.ledger.attended if numbers & set(entry.users)]

    def to_json(self) -> dict[str, Any]:
        """Return the book as JSON values."""
        spent = self.ledger.spent(self.names, self.delta or _DELTA)
        uploaded = {u for entry in self.ledger.attended for u in entry.users}
        budget = self.ledger.budget
        worst = max(spent.values(), default=0.0)
        return {
            "folder": str(self.folder), "run": self.run, "trust": self.trust,
            "users": len(self.names), "users_that_uploaded": len(uploaded),
            "rounds": len({e.round for e in self.ledger.attended}),
            "attempts": len(self.ledger.attended),
            "epsilon": budget.epsilon if budget else None, "delta": self.delta,
            # Without a bound there is no number, and infinity is none in JSON.
            "epsilon_spent": finite(worst),
            "spent_by_user": {self.names[n]: finite(x) for n, x in sorted(spent.items())},
        }


def books(folders: Sequence[Path]) -> dict[str, Any]:
    """Return the books of nodes, and what a user has spent in all of them together.

    folders: of nodes, or folders that hold nodes' folders. Raises UserError where none is found.
    """
    found = [Book.read(folder) for folder in _nodes(folders)]
    runs = [book.to_json() for book in found]
    together: dict[str, float | None] = {}
    delta = max((book.delta or 0.0 for book in found), default=0.0) or _DELTA
    for user in sorted({name for book in found for name in book.names.values()}):
        charged = [entries for book in found if (entries := book.of(user))]
        together[user] = finite(composed(charged, delta)) if charged else 0.0
    return {"runs": runs, "delta_of_all": delta, "spent_in_all": together}


def _nodes(folders: Sequence[Path]) -> list[Path]:
    out = []
    for folder in folders:
        own = [folder] if (folder / DATA).exists() else sorted(
            path.parent for path in folder.glob(f"**/{DATA}"))
        # Server and key holder host nobody, and have no such table.
        own = [path for path in own if (path / USERS).exists() and (path / KNOWN).exists()]
        if not own:
            raise UserError(f"folder: {folder} is no folder of a node that joined a run, and holds "
                            "none; give the folder that `deploy join` made")
        out += own
    return out
