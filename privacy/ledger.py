"""The ledger: what was released, in order, each entry bound to the one before by its hash."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

GENESIS = "0" * 64


class LedgerError(ValueError):
    """A ledger whose entries do not follow from one another, or that would charge twice."""


@dataclass(frozen=True)
class Entry:
    """One release of one round. `event` is `NonPrivate` where nothing bounds what it tells."""

    round: int
    name: str
    event: str
    noise_multiplier: float | None
    clip_norm: float | None
    sampling_rate: float
    cohort: int
    previous: str
    digest: str


def _digest(fields: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class Ledger:
    """Append-only list of releases. Entries are data; pricing them is somebody else's work."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: list[Entry] = list(entries)
        self.verify()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries in the order in which they were charged."""
        return tuple(self._entries)

    def charge(
        self,
        *,
        round_: int,
        name: str,
        event: str,
        noise_multiplier: float | None,
        clip_norm: float | None,
        sampling_rate: float,
        cohort: int,
    ) -> Entry:
        """Append one release. Raises LedgerError where the round's release was charged before."""
        if event != "NonPrivate":
            raise LedgerError(f"no price is known for the event {event!r}; it cannot be released")
        if any(e.round == round_ and e.name == name for e in self._entries):
            raise LedgerError(f"release {name!r} of round {round_} is already in the ledger")
        previous = self._entries[-1].digest if self._entries else GENESIS
        fields: dict[str, object] = {
            "round": round_,
            "name": name,
            "event": event,
            "noise_multiplier": noise_multiplier,
            "clip_norm": clip_norm,
            "sampling_rate": sampling_rate,
            "cohort": cohort,
            "previous": previous,
        }
        entry = Entry(**fields, digest=_digest(fields))  # type: ignore[arg-type]
        self._entries.append(entry)
        return entry

    def epsilon(self) -> float:
        """Spent epsilon: 0 for an empty ledger, infinite once anything was released unprotected."""
        return math.inf if self._entries else 0.0

    def verify(self) -> None:
        """Raise LedgerError where an entry was altered, removed or reordered."""
        previous = GENESIS
        for number, entry in enumerate(self._entries):
            fields = asdict(entry)
            digest = fields.pop("digest")
            if entry.previous != previous or _digest(fields) != digest:
                raise LedgerError(f"ledger entry {number} (round {entry.round}, {entry.name}) "
                                  "does not follow from the entry before it")
            previous = digest

    def to_json(self) -> list[dict[str, object]]:
        """The entries as JSON objects."""
        return [asdict(entry) for entry in self._entries]

    @classmethod
    def from_json(cls, rows: Iterable[dict[str, object]]) -> Ledger:
        """The ledger of `to_json`. Raises LedgerError where the chain is broken."""
        return cls(Entry(**row) for row in rows)  # type: ignore[arg-type]
