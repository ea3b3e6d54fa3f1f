"""The server of a federation whose clients are elsewhere: a backend that gathers by exchanges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from privacy import Cohort, PrivacyStack, ProtocolError, RoundAborted
from privacy.aggregation import Sums, Task
from privacy.aggregation.apart import Agreed, EncryptedSide, MaskedSide, PlainSide
from privacy.aggregation.messages import Message
from privacy.aggregation.routed import merged
from privacy.crypto.keys import Directory
from privfedmm.federation import exchange
from privfedmm.federation.exchange import Transport
from privfedmm.federation.post import Answers, Post, RoundLog, are_figures
from privfedmm.federation.types import Algorithm, Costs


class Journal(Protocol):
    """What the server is about to do, written before it does it."""

    def get(self) -> tuple[int, int, bool] | None:
        """Round, attempt, and whether the clients were asked to open it; None at the start."""
        ...

    def put(self, round_: int, attempt: int, opening: bool) -> None:
        """Make it durable."""
        ...


@dataclass(frozen=True)
class Greeting:
    """What the server tells a node first: both must run the same program and settings."""

    version: str
    settings: str


class Hub:
    """Gathers a round in three exchanges (one without a secure sum), two more at the start.

    rounds: of the run, to prepare the keys of the next one. key_holder: its verify key.
    """

    def __init__(
        self, transport: Transport, agreed: Agreed, directory: Directory, key_holder: bytes,
        journal: Journal, greeting: Greeting, rounds: int, kinds: tuple[type, ...],
    ) -> None:
        self._post, self._agreed, self._directory = Post(transport, kinds), agreed, directory
        self._key_holder, self._journal, self._greeting = key_holder, journal, greeting
        self._rounds = rounds
        self._holder: tuple[int, Message] | None = None
        self._ahead: MaskedSide | None = None

    @property
    def log(self) -> list[RoundLog]:
        """What each round cost."""
        return self._post.log

    def gather(
        self, algorithm: Algorithm, plan: Any, clients: Any, cohort: Cohort, stack: PrivacyStack
    ) -> tuple[Sums, Costs]:
        """One round. `clients` is not used: their state is on the nodes.

        Raises RoundAborted where too few clients are left, or the key holder does not answer.
        """
        self.log.append(RoundLog(cohort.round))
        if stack.mechanism is not None and stack.ledger.released(cohort.round):
            # Killed between charge and checkpoint: the stack hands out what was released.
            return Sums({}, {}, 0, len(cohort.ids)), Costs(0.0, 0.0, 0.0, 0.0)
        told = algorithm.plan_hash(plan)
        attempt = self._attempt(cohort, stack)
        task = stack.task(cohort, told, attempt)
        masked = self._agreed.leg(task, "masked")
        side = self._prepared(masked.task if masked else None, cohort.round, attempt)
        following = self._following(stack, cohort.round + 1)
        sums, figures = self._carry(task, plan, told, side, following)
        return sums, self._costs(sums, figures, len(cohort.ids))

    def ranks(self, state: Any, clients: Any) -> dict[str, np.ndarray]:
        """Ranks of all clients' held-out items, for an experiment; 0 for a node that is away.
        Also writes the groups that clients picked into `clients`."""
        self.log.append(RoundLog(state.round - 1))
        bodies = {node: {"state": state} for node in self._post.hosted}
        answers = self._post.exchange(exchange.RANKS, bodies)
        out: dict[str, np.ndarray] = {}
        for node, answer in answers.items():
            ids = self._post.hosted[node]
            clients.group[torch.from_numpy(ids)] = torch.from_numpy(answer["group"])
            for name, ranks in answer["ranks"].items():
                out.setdefault(name, np.zeros(self._agreed.clients, dtype=np.int32))[ids] = ranks
        return out

    def _attempt(self, cohort: Cohort, stack: PrivacyStack) -> int:
        """The number of this attempt; one that may have told something before is charged."""
        attempt, earlier = stack.ledger.attempt(cohort.round), self._journal.get()
        if earlier is not None and earlier[0] == cohort.round and earlier[1] >= attempt:
            if earlier[2]:
                raise RoundAborted(
                    f"round {cohort.round} was being opened when the server stopped, and clients "
                    "open a round only once; nothing was handed out: start a new run")
            if "plain" in self._agreed.uses:
                stack.abort(cohort, self._agreed.clients)
            attempt = earlier[1] + 1
        self._journal.put(cohort.round, attempt, False)
        return attempt

    def _following(self, stack: PrivacyStack, round_: int) -> Task | None:
        """The masked part of the next round, whose keys can travel with this one."""
        if round_ >= self._rounds:
            return None
        cohort = stack.draw(self._agreed.clients, round_)
        leg = self._agreed.leg(stack.task(cohort, b"", stack.ledger.attempt(round_)), "masked")
        return leg.task if leg else None

    def _prepared(self, task: Task | None, round_: int, attempt: int) -> MaskedSide | None:
        """Keys and shares of the round: from the round before, or by two exchanges now."""
        ahead, self._ahead = self._ahead, None
        if task is None:
            if not self._post.hosted:
                self._meet(None)
                self._introduce()
            return None
        if ahead is not None and ahead.number == (round_, attempt):
            return ahead
        side = MaskedSide(self._agreed, task, self._directory)
        answers = self._meet((round_, attempt))
        routed = side.adverts(self._post.messages(answers, "adverts"))
        side.shares(self._post.messages(self._introduce(routed), "shares"))
        return side

    def _meet(self, number: tuple[int, int] | None) -> Answers:
        """Learn which node hosts whom, and where the key holder is."""
        body = {"version": self._greeting.version, "settings": self._greeting.settings,
                "run": self._agreed.run}
        answers = self._post.exchange(
            exchange.PREPARE, {n: {**body, "next": number} for n in self._post.nodes()})
        for node, answer in answers.items():
            if "context" in answer:
                self._holder = node, answer["context"]
        self._post.settle({n: a["ids"] for n, a in answers.items() if "ids" in a})
        if "encrypted" in self._agreed.uses and self._holder is None:
            raise RoundAborted("the key holder's node did not answer; start it and go on")
        if not self._post.hosted:
            raise RoundAborted("no node answered: " + "; ".join(self.log[-1].stayed_out))
        return {node: answers[node] for node in self._post.hosted}

    def _introduce(self, adverts: Sequence[Message] = ()) -> Answers:
        if self._agreed.uses == {"plain"}:
            return {}
        context = self._holder[1] if self._holder else None
        return self._post.exchange(exchange.SHARE, {
            node: {"adverts": own, "context": context}
            for node, own in self._post.by_node(adverts).items()})

    def _carry(
        self, task: Task, plan: Any, told: bytes, side: MaskedSide | None, following: Task | None
    ) -> tuple[Sums, list[dict[str, Any]]]:
        number = task.cohort.round, task.attempt
        ahead = MaskedSide(self._agreed, following, self._directory) if following else None
        sealed = self._post.by_node(side.sealed(told) if side else ())
        upcoming = ahead.number if ahead else None
        answers = self._post.exchange(exchange.UPLOAD, {
            node: {"number": number, "plan": plan, "sealed": own, "next": upcoming}
            for node, own in sealed.items()})
        self.log[-1].nodes = len(answers)
        figures = [a["figures"] for a in answers.values() if are_figures(a["figures"])]
        parts: list[Sums] = []
        encrypted: EncryptedSide | None = None
        for leg in self._agreed.legs(task):
            if leg.way == "plain":
                plain = PlainSide(leg.task)
                for node, answer in answers.items():
                    for block in answer["plain"]:
                        self._plain(plain, node, block)
                self.log[-1].stayed_out += plain.refusals
                parts.append(plain.opened())
            elif leg.way == "encrypted":
                assert self._holder is not None
                encrypted = EncryptedSide(
                    self._agreed, leg.task, self._directory, self._key_holder, self._holder[1])
        total = encrypted.uploads(self._post.messages(answers, "encrypted")) if encrypted else None
        survivors = side.masked(self._post.messages(answers, "masked")) if side else []
        adverts: list[Message] = []
        if ahead is not None:
            try:
                adverts = ahead.adverts(self._post.messages(answers, "adverts"))
            except RoundAborted as error:
                self._post.note(f"the next round is not prepared ahead: {error}")
                ahead = None
        signed = self._sign(survivors, adverts, total, number)
        if encrypted is not None:
            parts.append(self._decrypted(encrypted, signed))
        if ahead is not None:
            ahead.shares(self._post.messages(signed, "shares"))
            self._ahead = ahead
        if side is not None:
            routed = self._post.by_node(side.signatures(self._post.messages(signed, "signatures")))
            self._journal.put(*number, True)
            revealed = self._post.exchange(exchange.UNMASK, {
                node: {"signatures": own} for node, own in routed.items() if own})
            parts.append(side.opened(self._post.messages(revealed, "revealed")))
        for one in (side, encrypted):
            self.log[-1].stayed_out += one.refusals if one else []
        return merged(parts), figures

    def _plain(self, side: PlainSide, node: int, block: Any) -> None:
        form = isinstance(block, tuple) and [type(part) for part in block] == [np.ndarray, dict]
        if form and np.isin(block[0], self._post.hosted[node]).all():
            side.uploads(*block)
        else:
            self._post.note(f"node {node} sent uploads that are not of its clients")

    def _sign(
        self, survivors: Sequence[Message], adverts: Sequence[Message],
        total: tuple[Message, Message] | None, number: tuple[int, int],
    ) -> Answers:
        lists, keys = self._post.by_node(survivors), self._post.by_node(adverts)
        bodies: dict[int, dict[str, Any]] = {
            node: {"survivors": lists[node], "adverts": keys[node]}
            for node in self._post.hosted if lists[node] or keys[node]}
        if total is not None:
            assert self._holder is not None
            bodies[self._holder[0]] = {"terms": total[0], "total": total[1]}
            # The key holder decrypts each round's total once.
            self._journal.put(*number, True)
        return self._post.exchange(exchange.SIGN, bodies) if bodies else {}

    def _decrypted(self, side: EncryptedSide, answers: Answers) -> Sums:
        assert self._holder is not None
        answer = answers.get(self._holder[0], {}).get("result")
        if not isinstance(answer, Message):
            raise RoundAborted("the key holder released nothing: "
                               + ("; ".join(self.log[-1].stayed_out) or "it did not answer"))
        try:
            return side.opened(answer)
        except ProtocolError as error:
            raise RoundAborted(f"the key holder's answer is refused: {error}") from error

    def _costs(self, sums: Sums, figures: list[dict[str, Any]], size: int) -> Costs:
        log = self.log[-1]
        log.training = max((f["training"] for f in figures), default=0.0)
        log.protocol = max((f["protocol"] for f in figures), default=0.0)
        return Costs(
            client_cpu_seconds=sum(f["training"] + f["protocol"] for f in figures),
            bytes_up_per_client=log.bytes_up / size,
            bytes_down_per_client=log.bytes_down / size,
            simulation_loss=sum(f["loss"] for f in figures) / size,
            simulation_zeroed=sum(f["zeroed"] for f in figures),
            simulation_shortened=sum(f["shortened"] for f in figures),
            survivors=sums.survivors,
            protocol_seconds={"waiting_for_nodes": log.seconds, "node_training": log.training,
                              "node_protocol": log.protocol},
        )
