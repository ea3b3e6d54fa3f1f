"""What a node does with a message: it hosts some clients, and keeps their state on its own disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, assert_never

import numpy as np

from privacy import Budget, Cohort, PrivacyStack, ProtocolError, RoundAborted, Uploads
from privacy.aggregation.deployed import Agreed, EncryptedDevice, Held, HolderSide, MaskedDevice
from privacy.aggregation.messages import KEY_HOLDER, Message
from privacy.aggregator import Task
from privacy.crypto.keys import Directory, Identity
from privacy.device_ledger import DeviceLedger
from privfedmm.federation import transport
from privfedmm.federation.claims import proofs
from privfedmm.federation.codec import decode, encode
from privfedmm.federation.letters import REASON, REQUESTS, alike, formed
from privfedmm.federation.types import Algorithm

Ranks = Callable[[Any, Any], Mapping[str, np.ndarray]]
"""Server state and clients -> target name -> rank of each hosted client's held-out item."""


class Disk(Protocol):
    """Stores one value for a node on its own disk, whole or as it was before."""

    def load(self) -> Any:
        """Return the value that was saved last, None at the start of a run."""
        ...

    def save(self, value: object) -> None:
        """Make a value durable before returning."""
        ...


@dataclass(frozen=True)
class Setup:
    """Holds what a node knows by itself, from its own folder.

    version: the version of the program. settings: the digest of the run's settings; both must be
    the server's. rounds: the number of rounds of the run; there is no further one. kinds: the
    dataclasses that travel. part: the node's own part of the beacon that mask graphs are drawn
    from, under its name; none for the key holder. budget: what each of its users may spend by the
    node's own ledger; None: nothing is claimed. stack: the run's stack, for the device half of
    its mechanism.
    """

    version: str
    settings: str
    agreed: Agreed
    directory: Directory
    key_holder: bytes
    stack: PrivacyStack
    rounds: int
    kinds: tuple[type, ...]
    part: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    budget: Budget | None = None

    def task(self, number: tuple[int, int], plan_hash: bytes = b"") -> Task:
        """Return the task of a round and an attempt, as this party sees it."""
        return self.stack.task(self.cohort(number[0]), plan_hash, number[1])

    def cohort(self, round_: int) -> Cohort:
        """Return the cohort of a round, which nobody draws: everyone takes part."""
        return self.stack.draw(self.agreed.clients, round_)

    def read(self, kind: str, body: bytes) -> dict[str, Any]:
        """Read a message of the server, of one of the forms of its kind. Raises ProtocolError."""
        return formed(decode(body, self.kinds), REQUESTS[kind], "the message")

    def meet(self, body: bytes) -> dict[str, Any]:
        """Read the server's greeting. Raises ProtocolError for another version or other settings.
        """
        values = self.read(transport.PREPARE, body)
        if values["version"] != self.version:
            raise ProtocolError(f"the server runs version {values['version']}, this node "
                                f"{self.version}; install the same on both")
        if values["settings"] != self.settings or values["run"] != self.agreed.run:
            raise ProtocolError("the server's run or its settings are not those that this node "
                                "was set up with; give both the same config")
        return values


class Node:
    """Answers messages for a shard of users.

    It serves one message: every answer leaves after its state has been saved, and an object that
    has refused is of no more use, for it was not saved.

    ids: the hosted clients [m], ascending. ranks: evaluates on this node's own held-out items; with
    None the node tells nothing but what the protocol asks (no loss, no ranks).
    """

    def __init__(
        self, setup: Setup, ids: np.ndarray, identities: Mapping[int, Identity],
        algorithm: Algorithm, disk: Disk, ranks: Ranks | None,
    ) -> None:
        self._setup, self._ids, self._algorithm = setup, ids, algorithm
        self._identities = identities
        self._disk, self._ranks = disk, ranks
        self._masked = MaskedDevice(setup.agreed, identities, setup.directory)
        self._encrypted = EncryptedDevice(
            setup.agreed, identities, setup.directory, setup.key_holder)
        # Last round and attempt trained, the clients before and after it.
        self._last: tuple[int, int] = (-1, -1)
        self._before = self._after = algorithm.initial_clients()
        # What leaves is charged here, by what this node knows; the server's ledger is its own.
        self._ledger = DeviceLedger(setup.budget)
        saved = disk.load()
        if saved is not None:
            self._last, self._before, self._after = (
                saved["last"], saved["before"], saved["after"])
            self._masked.restore(saved["masked"], setup.task)
            self._encrypted.restore(saved["encrypted"])
            self._ledger = DeviceLedger.from_state(saved["ledger"])
            if self._ledger.budget != setup.budget:
                raise ProtocolError("the node's ledger was begun under another budget; a run has "
                                    "one")

    def handle(self, kind: str, body: bytes) -> bytes:
        """Return the answer to a message; a refusal is an answer too, and changes nothing."""
        steps = {
            transport.PREPARE: self._prepare, transport.SHARE: self._share,
            transport.UPLOAD: self._upload, transport.SIGN: self._sign,
            transport.UNMASK: self._unmask, transport.RANKS: self._rank,
        }
        try:
            if kind not in steps:
                raise ProtocolError(f"a node knows no message of kind {kind}")
            answer = steps[kind](body)
        except ProtocolError as error:
            return encode({"refused": str(error)})
        self._disk.save({
            "last": self._last, "before": self._before, "after": self._after,
            "masked": self._masked.to_state(), "encrypted": self._encrypted.to_state(),
            "ledger": self._ledger.to_state()})
        reasons = [r.reason[:REASON]
                    for r in (*self._masked.refusals, *self._encrypted.refusals)]
        return encode({**answer, "stayed_out": reasons})

    def _prepare(self, body: bytes) -> dict[str, Any]:
        """Who is here, and keys for the coming round."""
        values = self._setup.meet(body)
        parties = [(n, self._identities[n]) for n in self._ids.tolist()]
        # Once the beacon is drawn it is drawn: a part that came late is not in it.
        return {"ids": self._ids, "adverts": self._adverts(values["next"]),
                "parts": self._masked.parts or self._setup.part,
                "proofs": proofs(self._setup.agreed.run, values["challenge"], parties)}

    def _adverts(self, number: tuple[int, int] | None) -> list[Message]:
        if number is None:
            return []
        if number[0] >= self._setup.rounds:
            raise ProtocolError(f"the run has {self._setup.rounds} rounds; none is {number[0]}")
        leg = self._setup.agreed.leg(self._setup.task(number), "masked")
        return self._masked.advertise(leg.task) if leg else []

    def _share(self, body: bytes) -> dict[str, Any]:
        values = self._setup.read(transport.SHARE, body)
        if values["parts"]:
            self._masked.learn(values["parts"])
        if values["context"] is not None:
            self._encrypted.accept(values["context"])
        return {"shares": self._masked.share(values["adverts"])}

    def _upload(self, body: bytes) -> dict[str, Any]:
        """Train, pass the gate, and send each client's part of the sums."""
        started = time.process_time()
        values = self._setup.read(transport.UPLOAD, body)
        number, plan = values["number"], values["plan"]
        round_, attempt = number
        if number <= self._last:
            raise ProtocolError(
                f"round {number} came after {self._last}: the run was rolled back, or a message "
                "came twice")
        if type(plan) is not type(self._algorithm.plan(self._algorithm.initial_state())):
            raise ProtocolError("the plan is not one of this run's method")
        if plan.round != round_:
            raise ProtocolError(f"the plan is of round {plan.round}, the message of {round_}")
        if round_ >= self._setup.rounds:
            raise ProtocolError(f"the run has {self._setup.rounds} rounds, and round {round_} is "
                                "none of them: it is in nobody's budget")
        model = replace(self._algorithm.initial_state(), round=round_)
        if not alike(plan, self._algorithm.plan(model)):
            raise ProtocolError("the plan has other shapes than this run's method")
        # Tried again, the round starts from where it started the first time.
        again = round_ == self._last[0]
        if again and self._alone:
            raise ProtocolError("this round's noisy uploads were sent before; a second set would "
                                "be a second release")
        charge = self._setup.stack.charged(self._setup.cohort(round_), self._setup.agreed.clients)
        admitted = self._ledger.admitted(charge, attempt, self._ids)
        clients = _copied(self._before if again else self._after, self._setup.kinds)
        before = _copied(clients, self._setup.kinds)
        held = Held(self._setup.stack.aggregator.hides_clients)
        plan_hash = self._algorithm.plan_hash(plan)
        # The device half of the chain: project, clip, quantise, and this node's own noise.
        gate = replace(self._setup.stack, aggregator=held).open(
            self._setup.cohort(round_), plan_hash, attempt)
        loss = 0.0
        for ids in self._algorithm.blocks(admitted):
            uploads, losses = self._algorithm.local(plan, ids, clients)
            gate.submit(ids, uploads)
            loss += float(losses.sum())
        trained = time.process_time()
        answer: dict[str, Any] = {"masked": [], "encrypted": [], "plain": []}
        for leg in self._setup.agreed.legs(self._setup.task(number, plan_hash)):
            if leg.way == "plain":
                names = [r.name for r in leg.task.releases]
                answer["plain"] = [(ids, _some(parts, names)) for ids, parts in held.blocks]
            elif leg.way == "masked":
                answer["masked"] = self._masked.mask(
                    leg.task, plan_hash, _to(values["sealed"], admitted), held.vectors(leg.task))
            elif leg.way == "encrypted":
                answer["encrypted"] = self._encrypted.encrypt(
                    leg.task, held.vectors(leg.task))
            else:
                assert_never(leg.way)
        self._ledger.attend(charge, attempt, _left(answer))
        self._last, self._before, self._after = number, before, clients
        answer["adverts"] = self._adverts(values["next"])
        answer["figures"] = None
        if self._ranks is not None:
            answer["figures"] = {
                "loss": loss, "zeroed": gate.zeroed, "shortened": gate.shortened,
                "training": trained - started, "protocol": time.process_time() - trained}
        return answer

    @property
    def _alone(self) -> bool:
        """Whether each upload is a release by itself: read by the server, hidden by own noise."""
        mechanism = self._setup.stack.mechanism
        return mechanism is not None and mechanism.noise.place.alone

    def _sign(self, body: bytes) -> dict[str, Any]:
        values = self._setup.read(transport.SIGN, body)
        if "survivors" not in values:
            raise ProtocolError("a total is for the key holder, and came to a node")
        return {"signatures": self._masked.sign(values["survivors"]),
                "shares": self._masked.share(values["adverts"])}

    def _unmask(self, body: bytes) -> dict[str, Any]:
        values = self._setup.read(transport.UNMASK, body)
        return {"revealed": self._masked.unmask(values["signatures"])}

    def _rank(self, body: bytes) -> dict[str, Any]:
        """Ranks of the hosted clients' held-out items, and their groups: for experiments alone."""
        if self._ranks is None:
            raise ProtocolError("this node reports no ranks: it was not set up as an experiment")
        state = self._setup.read(transport.RANKS, body)["state"]
        if not alike(state, self._algorithm.initial_state()):
            raise ProtocolError("the state is not one of this run's method")
        try:
            ranks = self._ranks(state, self._after)
        except ValueError as error:  # scores that cannot be ranked
            raise ProtocolError(f"the state gives no ranks: {error}") from error
        return {"ranks": dict(ranks), "group": self._algorithm.group_of(self._after, self._ids)}


class HolderNode:
    """Answers messages for the key holder: it decrypts one total a round, and hosts no client."""

    def __init__(self, setup: Setup, identity: Identity, disk: Disk) -> None:
        self._setup, self._identity = setup, identity
        saved = disk.load()
        self._side = HolderSide(
            setup.agreed, identity, setup.directory, setup.task, saved, disk.save)

    def handle(self, kind: str, body: bytes) -> bytes:
        """Return the answer to a message; a refusal is an answer too."""
        try:
            if kind == transport.PREPARE:
                told = self._setup.meet(body)["challenge"]
                return encode({
                    "context": self._side.publish(),
                    "proofs": proofs(self._setup.agreed.run, told, [(KEY_HOLDER, self._identity)])})
            values = self._setup.read(transport.SIGN, body)
            if "total" not in values:
                raise ProtocolError("survivors are for nodes, and came to the key holder")
            return encode({"result": self._side.decrypt(values["terms"], values["total"])})
        except (ProtocolError, RoundAborted) as error:
            return encode({"refused": str(error)})


def _to(messages: list[Any], users: np.ndarray) -> list[Message]:
    """The messages of a list that are to some of its users."""
    some = set(users.tolist())
    return [m for m in messages if isinstance(m, Message) and m.receiver in some]


def _left(answer: Mapping[str, Any]) -> set[int]:
    """The users whose uploads are in an answer, by whichever way they travel."""
    users = {message.sender for way in ("masked", "encrypted") for message in answer[way]}
    return users.union(*(ids.tolist() for ids, _ in answer["plain"]))


def _some(parts: Uploads, names: list[str]) -> dict[str, Any]:
    return {name: parts[name] for name in names}


def _copied(clients: Any, kinds: tuple[type, ...]) -> Any:
    return decode(encode(clients), kinds)
