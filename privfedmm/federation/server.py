"""The server of a federation whose clients are elsewhere: a backend that gathers by exchanges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from privacy import (
    CheatFound,
    Cohort,
    NotPrepared,
    OpeningFailed,
    PrivacyStack,
    ProtocolError,
    RoundAborted,
    RoundLost,
    RoundNotBegun,
)
from privacy.aggregation.deployed import Agreed, EncryptedSide, MaskedSide, PlainSide
from privacy.aggregation.encrypted.client import accept_context
from privacy.aggregation.messages import KEY_HOLDER, Message
from privacy.aggregator import Sums, Task
from privacy.crypto.keys import Directory
from privfedmm.evaluation import Ranks
from privfedmm.federation.caps import Caps
from privfedmm.federation.claims import challenge, check_claim
from privfedmm.federation.drawing import Drawing
from privfedmm.federation.mailbox import Answers, Mailbox, RoundLog, are_figures
from privfedmm.federation.openings import Journal, Opener, Opening, Saved, Underway
from privfedmm.federation.told_ranks import HIGHEST, put_together, told_ranks
from privfedmm.federation.transport import PREPARE, RANKS, SHARE, UPLOAD, Transport
from privfedmm.federation.types import Algorithm, Costs


@dataclass(frozen=True)
class Greeting:
    """Holds what the server tells a node first: both must run the same program and settings."""

    version: str
    settings: str


class FederationServer:
    """Gathers a round in three exchanges (one without a secure sum), two more at the start.

    rounds: the number of rounds of the run, to prepare the keys of the next one. key_holder: the
    key holder's verify key.
    """

    def __init__(
        self, transport: Transport, agreed: Agreed, directory: Directory, key_holder: bytes,
        journal: Journal, greeting: Greeting, rounds: int, kinds: tuple[type, ...],
    ) -> None:
        self._mailbox = Mailbox(transport, kinds, agreed.clients)
        self._agreed, self._directory = agreed, directory
        self._key_holder, self._journal, self._greeting = key_holder, journal, greeting
        self._rounds, self._opener = rounds, Opener(self._mailbox, journal)
        self._holder: tuple[int, Message] | None = None
        self._ahead: MaskedSide | None = None
        self._introduced = False
        self._drawing = Drawing(agreed, journal)

    @property
    def log(self) -> list[RoundLog]:
        """Return what each round cost."""
        return self._mailbox.log

    def gather(
        self, algorithm: Algorithm, plan: Any, clients: Any, cohort: Cohort, stack: PrivacyStack
    ) -> tuple[Sums, Costs]:
        """Gather one round from the nodes, and return its sums and its costs.

        `clients` is not used: their state is on the nodes. A round whose uploads were in when the
        server stopped is opened as it was begun. Raises RoundAborted where too few clients are
        left, or the key holder does not answer.
        """
        self.log.append(RoundLog(cohort.round))
        if stack.mechanism is not None and stack.kept(cohort.round):
            # Killed between release and checkpoint: the stack hands out what was released.
            return Sums({}, {}, 0, len(cohort.ids)), Costs(0.0, 0.0, 0.0, 0.0)
        plan_hash = algorithm.plan_hash(plan)
        begun = self._begun(cohort, stack)
        try:
            opening = self._resumed(cohort, stack, plan_hash, begun) if begun else (
                self._carry(cohort, stack, plan, plan_hash))
            sums = self._opener.unmask(opening)
        except RoundNotBegun:
            raise
        except CheatFound as error:
            # They stay out from here on, after a restart too, and of what was prepared with them.
            self._ahead = None
            last = self._journal.get()
            if last is not None:
                self._journal.put(replace(last, cheats=last.cheats | error.clients))
            raise RoundLost(f"{error}; they stay out of the run from now on{self.log[-1].why()}"
                            ) from error
        except RoundAborted as error:
            entry = self._journal.get()
            kind = OpeningFailed if entry is not None and entry.opening is not None else (
                RoundAborted)
            raise kind(f"{error}{self.log[-1].why()}") from error
        return sums, self._costs(sums, opening.figures, len(cohort.ids))

    def ranks(self, algorithm: Algorithm, state: Any, clients: Any) -> dict[str, Ranks]:
        """Return the ranks of all clients' held-out items, for an experiment.

        A client of a node that is away has none. The groups that clients picked are written into
        `clients`. Raises RoundNotBegun.
        """
        self.log.append(RoundLog(state.round - 1))
        if not self._mailbox.hosted:
            self._meet(None, False)
        bodies = {node: {"state": state} for node in self._mailbox.hosted}
        answers = self._mailbox.exchange(RANKS, bodies)
        parts: dict[str, list[tuple[np.ndarray, Ranks]]] = {}
        for node, answer in answers.items():
            ids, group = self._mailbox.hosted[node], answer["group"]
            ranks = told_ranks(answer["ranks"], len(ids))
            if ranks is None or (group is not None and (
                    len(group) != len(ids) or group.min(initial=0) < 0
                    or group.max(initial=0) > HIGHEST)):
                self._mailbox.note(f"node {node} sent ranks or groups that cannot be its clients'")
                continue
            if group is not None:
                algorithm.take_groups(clients, ids, group)
            for name, found in ranks.items():
                parts.setdefault(name, []).append((ids, found))
        return {name: put_together(part, self._agreed.clients) for name, part in parts.items()}

    def _begun(self, cohort: Cohort, stack: PrivacyStack) -> Underway | None:
        """The attempt at this round that was being opened when the server stopped."""
        found = self._journal.get()
        if found is None or found.round != cohort.round or found.opening is None:
            return None
        if not found.opening and stack.ledger.attempt(cohort.round) > found.attempt:
            return None  # lost, and charged for that already
        return found

    def _resumed(
        self, cohort: Cohort, stack: PrivacyStack, plan_hash: bytes, begun: Underway
    ) -> Opening:
        """The same opening once more, up to its last question: the same survivors and words."""
        task = stack.task(cohort, plan_hash, begun.attempt)
        self._mailbox.caps = Caps.of(self._agreed, task)
        try:
            saved = Saved.read(begun.opening or b"", plan_hash)
            self._meet(None, saved.total is not None)
            published = self._holder[1] if self._holder else None
            opening = saved.opening(
                self._agreed, task, self._directory, self._key_holder, published)
        except ProtocolError as error:
            raise RoundAborted(
                f"round {cohort.round} was being opened when the server stopped, and what would "
                f"finish that is damaged or does not fit ({error}); clients open a round only "
                "once: start a new run") from error
        saved.log.absorb(self.log[-1])
        self.log[-1] = saved.log
        if opening.encrypted is not None or (opening.masked and not opening.masked.signed):
            self._opener.sign(opening, (), self._holder[0] if self._holder else None)
        return opening

    def _attempt(self, cohort: Cohort, stack: PrivacyStack) -> int:
        """The number of this attempt; one that may have told something before is charged, and one
        that asked for nothing is tried again under its number."""
        attempt, earlier = stack.ledger.attempt(cohort.round), self._journal.get()
        if earlier is not None and earlier.round == cohort.round and earlier.attempt >= attempt:
            if earlier.asked and "plain" in self._agreed.uses:
                stack.abort(cohort, self._agreed.clients)
            attempt = earlier.attempt + earlier.asked
        number = cohort.round, attempt
        self._journal.put((earlier or Underway(*number)).then(number, asked=False))
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
            if not self._introduced:
                self._meet(None, "encrypted" in self._agreed.uses)
                self._introduce()
            return None
        if ahead is not None and ahead.number == (round_, attempt):
            return ahead
        answers = self._meet((round_, attempt), "encrypted" in self._agreed.uses)
        side = self._side(task)
        routed = side.adverts(self._mailbox.messages(answers, "adverts"))
        side.shares(self._mailbox.messages(self._introduce(routed), "shares"))
        return side

    def _meet(self, number: tuple[int, int] | None, holder: bool) -> Answers:
        """Learn which node hosts whom, and where the key holder is. holder: it must be there.
        Raises RoundNotBegun."""
        body = {"version": self._greeting.version, "settings": self._greeting.settings,
                "run": self._agreed.run, "next": number}
        told = {node: challenge() for node in self._mailbox.nodes()}
        answers = self._mailbox.exchange(
            PREPARE, {n: {**body, "challenge": text} for n, text in told.items()})
        keys = self._directory.including(KEY_HOLDER, self._key_holder)
        claims: dict[int, np.ndarray] = {}
        for node, answer in answers.items():
            ids = answer.get("ids")
            for why in self._drawing.show(answer.get("parts", {})):
                self._mailbox.note(f"node {node}: {why}")
            try:
                check_claim(self._agreed.run, told[node], (
                    [KEY_HOLDER] if ids is None else ids.tolist()), answer["proofs"], keys.keys)
                if ids is None:
                    accept_context(answer["context"], self._agreed.run.hex(), keys)
                    self._holder = node, answer["context"]
                else:
                    claims[node] = ids
            except ProtocolError as error:
                self._mailbox.note(f"node {node} is left out: {error}")
        self._mailbox.settle(claims)
        if holder and self._holder is None:
            raise RoundNotBegun("the key holder's node did not answer; start it and go on")
        if not self._mailbox.hosted:
            raise RoundNotBegun("no node answered: " + "; ".join(self.log[-1].stayed_out))
        return {node: answers[node] for node in self._mailbox.hosted}

    def _side(self, task: Task) -> MaskedSide:
        """A new attempt at a masked sum. Raises RoundNotBegun while there is no beacon."""
        try:
            beacon = self._drawing.beacon()
        except ProtocolError as error:
            raise RoundNotBegun(f"{error}; start the nodes that are away, and go on") from error
        begun = self._journal.get()
        return MaskedSide(self._agreed, task, self._directory, beacon,
                          begun.cheats if begun else frozenset())

    def _ahead_of(self, task: Task | None) -> MaskedSide | None:
        """The side of the next round, where it can be prepared beside this one."""
        try:
            return self._side(task) if task else None
        except RoundNotBegun as error:
            self._mailbox.note(f"the next round is not prepared ahead: {error}")
            return None

    def _introduce(self, adverts: Sequence[Message] = ()) -> Answers:
        self._introduced = True
        if self._agreed.uses == {"plain"}:
            return {}
        context = self._holder[1] if self._holder else None
        parts: Mapping[str, bytes] = {}
        if "masked" in self._agreed.uses:
            try:
                parts = self._drawing.parts()
            except ProtocolError as error:
                self._mailbox.note(f"there is no beacon for masked rounds yet: {error}")
        return self._mailbox.exchange(SHARE, {
            node: {"adverts": own, "context": context, "parts": parts}
            for node, own in self._mailbox.by_node(adverts).items()})

    def _carry(self, cohort: Cohort, stack: PrivacyStack, plan: Any, plan_hash: bytes) -> Opening:
        """A new attempt, up to its last question."""
        attempt = self._attempt(cohort, stack)
        task = stack.task(cohort, plan_hash, attempt)
        self._mailbox.caps = Caps.of(self._agreed, task)
        masked = self._agreed.leg(task, "masked")
        try:
            side = self._prepared(masked.task if masked else None, cohort.round, attempt)
            sealed = self._mailbox.by_node(side.sealed(plan_hash) if side else ())
        except RoundNotBegun:
            raise
        except RoundAborted as error:
            # Keys and shares of keys tell nothing: until uploads are asked for, nothing is charged.
            raise NotPrepared(f"{error}{self.log[-1].why()}") from error
        following = self._following(stack, cohort.round + 1)
        number = task.cohort.round, task.attempt
        ahead = self._ahead_of(following)
        upcoming = ahead.number if ahead else None
        last = self._journal.get()
        assert last is not None
        self._journal.put(last.then(number))
        answers = self._mailbox.exchange(UPLOAD, {
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
        if encrypted is not None:
            encrypted.uploads(self._mailbox.messages(answers, "encrypted"))
        if side is not None:
            side.masked(self._mailbox.messages(answers, "masked"))
        adverts: list[Message] = []
        if ahead is not None:
            try:
                adverts = ahead.adverts(self._mailbox.messages(answers, "adverts"))
            except RoundAborted as error:
                self._mailbox.note(f"the next round is not prepared ahead: {error}")
                ahead = None
        opening = Opening(number, plan_hash, parts, figures, side, encrypted)
        signed = self._opener.sign(opening, adverts, self._holder[0] if self._holder else None)
        if ahead is not None:
            ahead.shares(self._mailbox.messages(signed, "shares"))
            self._ahead = ahead
        return opening

    def _plain(self, side: PlainSide, node: int, block: Any) -> None:
        if np.isin(block[0], self._mailbox.hosted[node]).all():
            side.uploads(*block)
        else:
            self._mailbox.note(f"node {node} sent uploads that are not of its clients")

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
