"""A node's side: the clients that it hosts, each with its own keys and its own answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from privacy.aggregation.deployed.agreed import Agreed
from privacy.aggregation.deployed.answers import Given
from privacy.aggregation.encrypted.client import EncryptedClient, accept_context
from privacy.aggregation.masked.client import MaskedClient, Stage
from privacy.aggregation.masked.replay_guard import Attendance
from privacy.aggregation.messages import KEY_HOLDER, Message
from privacy.aggregation.ring import to_ring
from privacy.aggregator import Coalition, Session, Sums, Task, flattened
from privacy.crypto.he import PublicContext
from privacy.crypto.keys import Directory, Identity
from privacy.crypto.prg import MaskStream
from privacy.errors import ProtocolError
from privacy.uploads import Uploads

Number = tuple[int, int]  # round and attempt


@dataclass(frozen=True)
class Refusal:
    """Say why a client of this node stays out of a round.

    client: the client's number. reason: a sentence for the log.
    """

    client: int
    reason: str


@dataclass
class Held:
    """Stand in for an aggregator, and sum nothing: what passed the gate is kept for the protocols
    to carry.

    hides_clients: as the run's own aggregator says. blocks: client numbers [block] with uploads.
    """

    hides_clients: bool
    name: str = "held on the device"
    server_sees: str = "nothing yet"
    blocks: list[tuple[np.ndarray, Uploads]] = field(default_factory=list)

    def coalitions(self, clients: int) -> tuple[Coalition, ...]:
        """Return no coalitions: nobody reads what has not left."""
        return ()

    def open(self, task: Task) -> Session:
        """Return a session that holds nothing yet."""
        self.blocks = []
        return self

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        """Keep the uploads of a block of clients, ids [block]."""
        self.blocks.append((ids, uploads))

    def close(self) -> Sums:
        """Raise TypeError: a device sums nothing."""
        raise TypeError("a device adds nothing up: its uploads leave by a protocol")

    def vectors(self, task: Task) -> dict[int, np.ndarray]:
        """Return client number -> its integers, int64 [dims], for the releases of a task in their
        order."""
        out: dict[int, np.ndarray] = {}
        for ids, uploads in self.blocks:
            rows = flattened({r.name: uploads[r.name] for r in task.releases}, task.releases)
            out.update(zip(ids.tolist(), rows, strict=True))
        return out


class MaskedDevice:
    """Play the masked clients of a node, over the rounds of a run.

    A round is joined when its vectors are masked, not when its keys are advertised: keys tell
    nothing, and so those of the next round may be on their way while a failed round is tried
    again. Clients of an older attempt are forgotten then: of one round no second sum can open.

    What was signed and revealed is kept until then, to be given to a server that stopped before
    it read the answer and asks the very same again. Another request is refused as before.
    """

    def __init__(
        self, agreed: Agreed, identities: Mapping[int, Identity], directory: Directory
    ) -> None:
        self._agreed, self._identities, self._directory = agreed, identities, directory
        self._attendance = Attendance(agreed.run)
        self._parts: dict[str, bytes] = {}
        self._beacon: bytes | None = None
        self._rounds: dict[Number, dict[int, MaskedClient]] = {}
        self._given = Given()
        self.refusals: list[Refusal] = []

    def advertise(self, task: Task) -> list[Message]:
        """Make fresh keys for an attempt (round 0, AdvertiseKeys); earlier ones for it are
        forgotten.

        Raises ProtocolError for an attempt that can no longer be joined.
        """
        terms = self._agreed.masked_terms(task, self._beacon)
        # What could never be joined is not begun.
        self._attendance.joins(terms)
        floor = self._agreed.floor(task)
        clients = {
            number: MaskedClient(identity, terms, self._directory, floor)
            for number, identity in self._identities.items() if number in terms.position}
        # Keys of an attempt that never came to its vectors are of no more use.
        self._rounds = {n: held for n, held in self._rounds.items()
                        if n[0] != terms.round or _masked(held)}
        self._rounds[terms.number] = clients
        return [client.advertise() for client in clients.values()]

    @property
    def parts(self) -> Mapping[str, bytes]:
        """Return the nodes' parts that the beacon is drawn from, by name, once they were shown."""
        return self._parts

    def learn(self, parts: Mapping[str, bytes]) -> None:
        """Take the nodes' parts of the beacon that mask graphs are drawn from, once a run.

        This node's own need not be among them: it may have come late. Raises ProtocolError for too
        few, for one that was not committed to, and for others than were taken before."""
        beacon = self._agreed.beacon(parts)
        if self._beacon not in (None, beacon):
            raise ProtocolError("the run's beacon was drawn from other parts before, and a run has "
                                "one beacon")
        if self._beacon is None:
            self._parts, self._beacon = dict(parts), beacon
            for clients in self._rounds.values():
                for client in clients.values():
                    client.receive_beacon(beacon)

    def share(self, messages: Sequence[Message]) -> list[Message]:
        """Deal shares to the neighbours whose adverts came (round 1, ShareKeys)."""
        return self._each(messages, MaskedClient.share)

    def mask(
        self, task: Task, plan_hash: bytes, sealed: Sequence[Message],
        vectors: Mapping[int, np.ndarray],
    ) -> list[Message]:
        """Mask the vectors of all clients that are ready (round 2, MaskedInputCollection).

        plan_hash: hash of the plan that came. sealed: the shares for each client. vectors: client
        number -> integers int64 [dims]. Raises ProtocolError for a round that was joined or opened
        before.
        """
        number = task.cohort.round, task.attempt
        clients = self._rounds.get(number)
        if not clients:
            raise ProtocolError(f"no keys are there for round {number}: it was not prepared")
        self._attendance = self._attendance.joins(
            self._agreed.masked_terms(task, self._beacon))
        self._rounds = {n: c for n, c in self._rounds.items() if n >= number}
        self._given = Given()

        def answer(client: MaskedClient, message: Message) -> Message:
            client.receive_shares(message)
            client.receive_plan(plan_hash)
            return client.mask(to_ring(vectors[client.number]), stream)

        stream = MaskStream(next(iter(clients.values())).terms.dims)
        try:
            return self._each(sealed, answer)
        finally:
            stream.wipe()

    def sign(self, messages: Sequence[Message]) -> list[Message]:
        """Sign the list of survivors (round 3, ConsistencyCheck): from here on the round may open,
        and this node joins no further attempt at it."""
        out = self._once(messages, MaskedClient.sign)
        for number in {message.round for message in out} & self._rounds.keys():
            self._attendance = self._attendance.signs(
                next(iter(self._rounds[number].values())).terms)
        return out

    def unmask(self, messages: Sequence[Message]) -> list[Message]:
        """Reveal the shares that open the sum (round 4, Unmasking)."""
        out = self._once(messages, MaskedClient.unmask)
        for number in {message.round for message in out}:
            self._rounds.pop(number, None)
        return out

    def to_state(self) -> dict[str, object]:
        """Return everything that must be safe before an answer is sent, secrets included."""
        return {
            "attendance": self._attendance.to_bytes(),
            "parts": dict(self._parts),
            "given": self._given.to_state(),
            "rounds": [
                (number, {n: client.to_bytes() for n, client in clients.items()})
                for number, clients in self._rounds.items()],
        }

    def restore(self, state: Mapping[str, object], task_of: Callable[[Number], Task]) -> None:
        """Continue from `to_state`; task_of: what this node knows of a round. Raises
        ProtocolError for a state of another run."""
        attendance = state["attendance"]
        assert isinstance(attendance, bytes)
        self._attendance = Attendance.from_bytes(attendance)
        if self._attendance.run != self._agreed.run:
            raise ProtocolError("the node's state is of another run")
        self._given = Given.from_state(state["given"])
        parts = state["parts"]
        assert isinstance(parts, dict)
        if parts:
            self.learn(parts)
        rounds = state["rounds"]
        assert isinstance(rounds, list)
        for number, clients in rounds:
            floor = self._agreed.floor(task_of(number))
            self._rounds[number] = {
                n: MaskedClient.from_bytes(body, self._identities[n], self._directory, floor)
                for n, body in clients.items()}

    def _once(
        self, messages: Sequence[Message], step: Callable[[MaskedClient, Message], Message]
    ) -> list[Message]:
        """As `_each`; whoever has answered this very request gives that answer again."""
        def kept(client: MaskedClient, message: Message) -> Message:
            answer = step(client, message)
            self._given.keep(message, answer)
            return answer

        again = [(message, self._given.again(message)) for message in messages]
        fresh = [message for message, answer in again if answer is None]
        return [answer for _, answer in again if answer is not None] + self._each(fresh, kept)

    def _each(
        self, messages: Sequence[Message], answer: Callable[[MaskedClient, Message], Message]
    ) -> list[Message]:
        """One answer a client; a client that refuses stays out, the others do not."""
        out = []
        for message in messages:
            client = self._rounds.get(message.round, {}).get(message.receiver)
            try:
                if client is None:
                    raise ProtocolError(f"no such client takes part in round {message.round}")
                out.append(answer(client, message))
            except ProtocolError as error:
                self.refusals.append(Refusal(message.receiver, str(error)))
        return out


def _masked(clients: Mapping[int, MaskedClient]) -> bool:
    return any(client.stage >= Stage.MASKED for client in clients.values())


class EncryptedDevice:
    """Play the encrypting clients of a node: they answer each attempt once, and keep nothing."""

    def __init__(
        self, agreed: Agreed, identities: Mapping[int, Identity], directory: Directory,
        key_holder: bytes,
    ) -> None:
        self._agreed, self._identities = agreed, identities
        self._signers = directory.including(KEY_HOLDER, key_holder)
        self._published: Message | None = None
        self._context: PublicContext | None = None
        self._answered: Number = (-1, -1)
        self.refusals: list[Refusal] = []

    def accept(self, message: Message) -> None:
        """Pin the key holder's context. Raises ProtocolError where it is not its own, or differs
        from the one that was pinned."""
        if self._published is not None and message.body != self._published.body:
            raise ProtocolError("the key holder's key has changed within the run")
        self._context = accept_context(message, self._agreed.run.hex(), self._signers)
        self._published = message

    def encrypt(self, task: Task, vectors: Mapping[int, np.ndarray]) -> list[Message]:
        """Return the encrypted, signed vectors; vectors: client number -> integers int64 [dims].

        Raises ProtocolError without the key, or a second time.
        """
        if self._context is None:
            raise ProtocolError("the key holder's key has not come yet")
        terms = self._agreed.encrypted_terms(task, self._context)
        if terms.at <= self._answered:
            raise ProtocolError(f"round {terms.at} came after {self._answered} was answered")
        self._answered = terms.at
        out = []
        for number, vector in vectors.items():
            client = EncryptedClient(
                self._identities[number], terms.run, self._context, self._agreed.min_decrypted)
            try:
                out.append(client.upload(terms, vector))
            except ProtocolError as error:
                self.refusals.append(Refusal(number, str(error)))
        return out

    def to_state(self) -> dict[str, object]:
        """Return what must be safe before an answer is sent; nothing of it is secret."""
        return {"published": self._published, "answered": self._answered}

    def restore(self, state: Mapping[str, object]) -> None:
        """Continue from `to_state`.

        Raises ProtocolError where the key that it holds is not the key holder's.
        """
        published, answered = state["published"], state["answered"]
        assert isinstance(answered, tuple)
        self._answered = answered
        if isinstance(published, Message):
            self.accept(published)
