"""Opening a round's sums: asked of clients and key holder, and asked again after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from privacy import ProtocolError, RoundAborted
from privacy.aggregation.deployed import Agreed, EncryptedSide, MaskedSide
from privacy.aggregation.messages import Message
from privacy.aggregation.routes import merged
from privacy.aggregator import Sums, Task
from privacy.crypto.keys import Directory
from privfedmm.federation import transport
from privfedmm.federation.codec import decode, encode
from privfedmm.federation.mailbox import Answers, Mailbox, RoundLog

# The keys of a saved opening. The hash of the plan goes by its first name, which is on disks.
_FIELDS = {"told", "parts", "figures", "masked", "total", "log"}


@dataclass(frozen=True)
class Underway:
    """Records the attempt that is under way.

    opening: what finishes the attempt, once its uploads are in; None before, and empty where it is
    lost or damaged. cheats: clients that dealt wrong shares in this run so far, who stay out.
    parts: what the run's beacon is drawn from, by the nodes' names; none before. asked: whether
    clients may have been asked for uploads, so that the attempt counts.
    """

    round: int
    attempt: int
    opening: bytes | None = None
    cheats: frozenset[int] = frozenset()
    parts: Mapping[str, bytes] = field(default_factory=dict)
    asked: bool = True

    def then(
        self, number: tuple[int, int], opening: bytes | None = None, asked: bool = True
    ) -> Underway:
        """Return the entry of another attempt, or of this one further on, in the same run."""
        return replace(self, round=number[0], attempt=number[1], opening=opening, asked=asked)


class Journal(Protocol):
    """Records what the server is about to do, before the server does it."""

    def get(self) -> Underway | None:
        """Return the last entry, None at the start."""
        ...

    def put(self, entry: Underway) -> None:
        """Make the entry durable, whole, in place of the last one."""
        ...


@dataclass
class Opening:
    """Holds sums whose uploads are in, and how far their opening has come.

    number: the round and the attempt. plan_hash: the hash of the plan. parts: the sums that are
    there. figures: the figures of nodes in an experiment. masked, encrypted: the sums that are
    still closed. A saved opening holds what the server was sent, and nothing that it may not know.
    """

    number: tuple[int, int]
    plan_hash: bytes
    parts: list[Sums]
    figures: list[dict[str, Any]]
    masked: MaskedSide | None
    encrypted: EncryptedSide | None

    @property
    def closed(self) -> bool:
        """Return whether any sum is still to be opened."""
        return self.masked is not None or self.encrypted is not None

    def to_bytes(self, log: RoundLog) -> bytes:
        """Encode the opening for the server's own disk. log: what the round has cost so far."""
        return encode({
            "told": self.plan_hash, "figures": self.figures, "log": asdict(log),
            "parts": [_saved(part) for part in self.parts],
            "masked": self.masked.to_bytes() if self.masked else None,
            "total": self.encrypted.total if self.encrypted else None,
        })


@dataclass(frozen=True)
class Saved:
    """Holds what `Opening.to_bytes` wrote, its sides not yet set up.

    total: the message with the total that the key holder was asked to decrypt.
    """

    plan_hash: bytes
    parts: list[Sums]
    figures: list[dict[str, Any]]
    masked: bytes | None
    total: Message | None
    log: RoundLog

    @classmethod
    def read(cls, body: bytes, plan_hash: bytes) -> Saved:
        """Read a saved opening.

        Raises ProtocolError where it cannot be read, or is of another plan.
        """
        values = decode(body, (Message,))
        if not isinstance(values, dict) or values.keys() != _FIELDS:
            raise ProtocolError("a saved opening has other fields")
        if values.pop("told") != plan_hash:
            raise ProtocolError("what was saved opens the sum of another plan")
        parts = [Sums(**{**part, "noised": frozenset(part["noised"])}) for part in values["parts"]]
        return cls(plan_hash, **{**values, "parts": parts, "log": RoundLog(**values["log"])})

    def opening(
        self, agreed: Agreed, task: Task, directory: Directory, key_holder: bytes,
        published: Message | None,
    ) -> Opening:
        """Set up an opening that is ready to go on.

        published: the key holder's context, where its total is still closed. Raises ProtocolError
        for an opening of another round or attempt than the task's.
        """
        masked, encrypted = agreed.leg(task, "masked"), agreed.leg(task, "encrypted")
        side = other = None
        if self.masked is not None and masked is not None:
            side = MaskedSide.opening(agreed, masked.task, directory, self.plan_hash, self.masked)
        if self.total is not None and encrypted is not None and published is not None:
            other = EncryptedSide(
                agreed, encrypted.task, directory, key_holder, published, self.total)
        number = task.cohort.round, task.attempt
        return Opening(number, self.plan_hash, list(self.parts), self.figures, side, other)


class Opener:
    """Asks for what opens a sum.

    The journal holds, before each question, what asks it again: the same of the same clients, so
    that of one round only one sum can ever open.
    """

    def __init__(self, post: Mailbox, journal: Journal) -> None:
        self._mailbox, self._journal = post, journal

    def sign(
        self, opening: Opening, adverts: Sequence[Message], holder: int | None
    ) -> Answers:
        """Ask survivors to sign and the key holder to decrypt, and return the nodes' answers.

        adverts: the messages of the next round that travel along. holder: the key holder's node.
        Raises RoundAborted.
        """
        asks_holder = opening.encrypted is not None
        lists = self._mailbox.by_node(opening.masked.asked() if opening.masked else ())
        keys = self._mailbox.by_node(adverts)
        bodies: dict[int, dict[str, Any]] = {
            node: {"survivors": lists[node], "adverts": keys[node]}
            for node in self._mailbox.hosted if lists[node] or keys[node]}
        if opening.encrypted is not None:
            assert holder is not None
            terms, total = opening.encrypted.asked()
            bodies[holder] = {"terms": terms, "total": total}
        if opening.closed:
            self._save(opening)
        answers = self._mailbox.exchange(transport.SIGN, bodies) if bodies else {}
        if opening.encrypted is not None:
            opening.parts.append(self._decrypted(
                opening.encrypted, answers.get(holder, {}) if holder is not None else {}))
            self._mailbox.log[-1].stayed_out += opening.encrypted.refusals
            opening.encrypted = None
        if opening.masked is not None:
            try:
                opening.masked.signatures(self._mailbox.messages(answers, "signatures"))
            except RoundAborted:
                if not asks_holder:
                    # Nobody was asked for what opens it: another attempt is open to the clients.
                    self._put(opening, None)
                raise
        return answers

    def unmask(self, opening: Opening) -> Sums:
        """Return the sums, once those who signed have revealed their shares. Raises RoundAborted.
        """
        if opening.masked is not None:
            self._save(opening)
            routed = self._mailbox.by_node(opening.masked.asked())
            revealed = self._mailbox.exchange(transport.UNMASK, {
                node: {"signatures": own} for node, own in routed.items() if own})
            answers = self._mailbox.messages(revealed, "revealed")
            opening.parts.append(opening.masked.opened(answers))
            self._mailbox.log[-1].stayed_out += opening.masked.refusals
        return merged(opening.parts)

    def _save(self, opening: Opening) -> None:
        self._put(opening, opening.to_bytes(self._mailbox.log[-1]))

    def _put(self, opening: Opening, body: bytes | None) -> None:
        before = self._journal.get() or Underway(*opening.number)
        self._journal.put(before.then(opening.number, body))

    def _decrypted(self, side: EncryptedSide, answer: Mapping[str, Any]) -> Sums:
        result = answer.get("result")
        if not isinstance(result, Message):
            why = "; ".join(self._mailbox.log[-1].stayed_out) or "it did not answer"
            raise RoundAborted(f"the key holder released nothing: {why}")
        try:
            return side.opened(result)
        except ProtocolError as error:
            raise RoundAborted(f"the key holder's answer is refused: {error}") from error


def _saved(part: Sums) -> dict[str, Any]:
    # Sums are read back by their fields; an individual release does not travel and is not kept.
    return {**vars(part), "sums": dict(part.sums), "individual": dict(part.individual),
            "seconds": dict(part.seconds), "noised": sorted(part.noised)}
