"""Keep the ledger: what was released, in order, each entry bound to the one before by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from privacy.accounting import epsilon
from privacy.events import event_named, is_known

GENESIS = "0" * 64
Status = Literal["released", "aborted"]


class LedgerError(ValueError):
    """Report a ledger whose entries do not follow from one another, or that would charge twice."""


class BudgetError(LedgerError):
    """Report a release that would spend more than the budget."""


@dataclass(frozen=True)
class Budget:
    """State what may be spent in all."""

    epsilon: float
    delta: float


@dataclass(frozen=True, kw_only=True)
class Charge:
    """Describe one release of one round.

    event: one of privacy.events by its name; `NonPrivate` where nothing bounds what it tells.
    noise_multiplier: noise standard deviation / the bound that it hides. status `aborted`: the
    round failed after uploads, and counts all the same. shares, dims, limit: of distributed noise,
    the honest shares it is provisioned for, the values of a release and its bound in steps of the
    grid. steps: Gaussian steps of that multiplier, more than one only where devices train with
    noise.
    """

    round: int
    name: str
    event: str
    noise_multiplier: float | None
    clip_norm: float | None
    sampling_rate: float
    population: int
    cohort: int
    status: Status = "released"
    shares: int | None = None
    dims: int | None = None
    limit: float | None = None
    steps: int = 1


@dataclass(frozen=True, kw_only=True)
class Entry(Charge):
    """Place a charge in the ledger; attempt: how many aborted ones came before."""

    attempt: int
    previous: str
    digest: str


def together(charges: Sequence[Charge]) -> Charge:
    """Combine the charges of one round into one: z^-2 = sum of steps z^-2."""
    first, multipliers = charges[0], [c.noise_multiplier for c in charges]
    if len(charges) == 1 or first.noise_multiplier is None:
        return first
    total = sum(c.steps * (z or 0.0) ** -2 for c, z in zip(charges, multipliers, strict=True))
    return replace(first, noise_multiplier=total**-0.5, steps=1)


def _digest(fields: dict[str, Any]) -> str:
    # What is not used is left out: ledgers from before it was there keep their digests.
    unused = {"steps": 1, "shares": None, "dims": None, "limit": None}
    fields = {n: x for n, x in fields.items() if n not in unused or x != unused[n]}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class Ledger:
    """Keep an append-only list of releases under a budget (None: nothing is claimed or refused).

    keep: called with the ledger after each charge and before the release, to make it durable.
    """

    def __init__(
        self,
        entries: Iterable[Entry] = (),
        budget: Budget | None = None,
        keep: Callable[[Ledger], None] | None = None,
    ) -> None:
        self._entries: list[Entry] = list(entries)
        self.budget = budget
        self.keep = keep
        self.verify()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return the entries in the order in which they were charged."""
        return tuple(self._entries)

    def released(self, round_: int) -> tuple[Entry, ...]:
        """Return the entries of a round that were released, none where it was not."""
        return tuple(e for e in self._entries if e.round == round_ and e.status == "released")

    def attempt(self, round_: int) -> int:
        """Return how often a round was aborted so far."""
        return len({e.attempt for e in self._entries
                    if e.round == round_ and e.status == "aborted"})

    def aborted(self) -> int:
        """Return how many attempts were aborted, of all rounds."""
        return len({(e.round, e.attempt) for e in self._entries if e.status == "aborted"})

    def charge(self, charge: Charge) -> Entry:
        """Append one release, as the entry that `check` gives.

        Raises what `check` raises; nothing is appended then. An aborted round has happened: it is
        appended whatever it costs.
        """
        entry = self.check(charge)
        self._entries.append(entry)
        if self.keep:
            self.keep(self)
        return entry

    def check(self, charge: Charge) -> Entry:
        """Return the entry that a charge would append.

        Raises LedgerError for an event without a price or a release charged before, BudgetError
        where the budget would be overspent.
        """
        if not is_known(charge.event):
            raise LedgerError(f"no price is known for the event {charge.event!r}; it cannot be "
                              "released")
        if charge.steps != 1 and not event_named(charge.event).counts_steps:
            raise LedgerError(f"a {charge.event} is one step, got {charge.steps}")
        if any(e.name == charge.name for e in self.released(charge.round)):
            raise LedgerError(f"release {charge.name!r} of round {charge.round} is already in the "
                              "ledger")
        fields: dict[str, Any] = {
            **asdict(charge),
            "attempt": self.attempt(charge.round),
            "previous": self._entries[-1].digest if self._entries else GENESIS,
        }
        entry = Entry(**fields, digest=_digest(fields))
        if self.budget is not None and charge.status == "released":
            after = epsilon([*self._entries, entry], self.budget.delta)
            if after > self.budget.epsilon * (1 + 1e-6):
                raise BudgetError(
                    f"round {charge.round} would spend epsilon {after:.4f} in all, more than the "
                    f"budget of {self.budget.epsilon:g} at delta {self.budget.delta:g}; it is not "
                    "released")
        return entry

    def spent(self, delta: float) -> float:
        """Return epsilon of everything in the ledger; infinite once anything left unprotected."""
        return epsilon(self._entries, delta)

    def verify(self) -> None:
        """Check the chain. Raises LedgerError where an entry was altered, removed or reordered."""
        previous = GENESIS
        for number, entry in enumerate(self._entries):
            fields = asdict(entry)
            digest = fields.pop("digest")
            if entry.previous != previous or _digest(fields) != digest:
                raise LedgerError(f"ledger entry {number} (round {entry.round}, {entry.name}) "
                                  "does not follow from the entry before it")
            previous = digest

    def to_json(self) -> list[dict[str, object]]:
        """Return the entries as JSON objects."""
        return [asdict(entry) for entry in self._entries]

    @classmethod
    def from_json(
        cls,
        rows: Iterable[dict[str, object]],
        budget: Budget | None = None,
        keep: Callable[[Ledger], None] | None = None,
    ) -> Ledger:
        """Read the ledger of `to_json`. Raises LedgerError where the chain or an entry is
        broken."""
        try:
            entries = [Entry(**row) for row in rows]  # type: ignore[arg-type]
        except TypeError as error:
            raise LedgerError(f"an entry of the ledger is malformed ({error})") from error
        return cls(entries, budget, keep)
