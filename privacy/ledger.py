"""Keep the ledger: what was released, in order, each entry bound to the one before by its hash.

A bound ledger begins with a commitment (privacy.commitment), and its key signs every link.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from privacy.accounting import epsilon
from privacy.commitment import Note, NoteKind, Signer, is_signed, signed
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
    """Place a charge in the ledger; attempt: how many aborted ones came before.

    signature: of the digest, by the key of a bound ledger; None in others.
    """

    attempt: int
    previous: str
    digest: str
    signature: str | None = None

    @property
    def title(self) -> str:
        """Return the words that name the entry in sentences."""
        return f"round {self.round}, {self.name}"

    def true_digest(self) -> str:
        """Return the SHA-256 that the digest must be."""
        return _digest({n: x for n, x in asdict(self).items() if n not in ("digest", "signature")})

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object; only a signed one has a signature."""
        return {n: x for n, x in asdict(self).items() if n != "signature" or x is not None}


Link = Entry | Note


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

    links: entries, and the notes of a bound ledger. keep: called with the ledger after each charge
    and before the release, to make it durable. Raises LedgerError where the chain is broken.
    """

    def __init__(
        self,
        links: Iterable[Link] = (),
        budget: Budget | None = None,
        keep: Callable[[Ledger], None] | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._links: list[Link] = list(links)
        self._entries = [link for link in self._links if isinstance(link, Entry)]
        self.budget = budget
        self.keep = keep
        self._signer = signer
        self.verify()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return the entries in the order in which they were charged."""
        return tuple(self._entries)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Return the notes in order; the first is the commitment of a bound ledger."""
        return tuple(link for link in self._links if isinstance(link, Note))

    @property
    def digests(self) -> tuple[str, ...]:
        """Return the digests of all links, in order."""
        return tuple(link.digest for link in self._links)

    @property
    def commitment(self) -> dict[str, Any] | None:
        """Return what a bound ledger commits to; None for one that is not bound."""
        return self.notes[0].body if self.notes else None

    def commit(self, body: dict[str, Any], signer: Signer) -> None:
        """Bind an empty ledger to what its run is; every later link is signed as well.

        body: JSON values. The verify key is added to them, as `key`. Raises LedgerError for a
        ledger that has begun.
        """
        if self._links:
            raise LedgerError("a ledger that has begun cannot be bound any more")
        self._signer = signer
        self._note("commitment", {**body, "key": signer.verify_key().hex()})

    def go_on(self, body: dict[str, Any]) -> None:
        """Note that the run continues under another code; body: JSON values.

        Raises LedgerError where the ledger is not bound, or its key is not here.
        """
        if self.commitment is None or self._signer is None:
            raise LedgerError("only a bound ledger whose key is there can be noted in")
        self._note("continued", body)

    def _note(self, kind: NoteKind, body: dict[str, Any]) -> None:
        assert self._signer is not None
        self._links.append(Note.make(kind, body, self._head(), self._signer))
        if self.keep:
            self.keep(self)

    def _head(self) -> str:
        return self._links[-1].digest if self._links else GENESIS

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
        appended whatever it costs. Raises LedgerError where the key of a bound ledger is not here
        to sign.
        """
        entry = self.check(charge)
        if self.commitment is not None:
            if self._signer is None:
                raise LedgerError("the key of the run is not here, and without it nothing more "
                                  "can be charged to its ledger")
            entry = replace(entry, signature=signed(entry.digest, self._signer))
        self._links.append(entry)
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
            "previous": self._head(),
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
        """Check the chain and, of a bound ledger, every signature.

        Raises LedgerError where a link was altered, removed or reordered.
        """
        previous, promised = GENESIS, self.commitment
        key = None if promised is None else str(promised.get("key"))
        for number, link in enumerate(self._links):
            where = f"ledger entry {number} ({link.title})"
            if link.previous != previous or link.true_digest() != link.digest:
                raise LedgerError(f"{where} does not follow from the entry before it")
            if isinstance(link, Note) and (link.kind == "commitment") != (number == 0):
                raise LedgerError(f"{where} is out of place: a ledger has one commitment, its "
                                  "first entry")
            if key is not None and not is_signed(link.digest, link.signature, key):
                raise LedgerError(f"{where} is not signed by the key that the ledger begins with")
            previous = link.digest

    def to_json(self) -> list[dict[str, object]]:
        """Return the links as JSON objects."""
        return [link.to_json() for link in self._links]

    @classmethod
    def from_json(
        cls,
        rows: Iterable[dict[str, object]],
        budget: Budget | None = None,
        keep: Callable[[Ledger], None] | None = None,
        signer: Signer | None = None,
    ) -> Ledger:
        """Read the ledger of `to_json`. Raises LedgerError where the chain or a link is broken."""
        try:
            links: list[Link] = [
                Note(**row) if "kind" in row else Entry(**row)  # type: ignore[arg-type]
                for row in rows]
        except TypeError as error:
            raise LedgerError(f"an entry of the ledger is malformed ({error})") from error
        return cls(links, budget, keep, signer)
