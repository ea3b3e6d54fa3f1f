"""The server's letters to nodes: sent, counted, checked for form and for who may have sent them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from privacy import ProtocolError
from privacy.aggregation.messages import Message
from privfedmm.federation.caps import Caps
from privfedmm.federation.codec import decode, encode
from privfedmm.federation.letters import ANSWERS, REASON, formed
from privfedmm.federation.transport import PREPARE, Transport

Answers = dict[int, dict[str, Any]]
_FIGURES = ("loss", "zeroed", "shortened", "training", "protocol")
_SAID = 3  # reasons that the sentence of an aborted round gives; the log has all


@dataclass
class RoundLog:
    """Records what a round cost.

    exchanges: how many messages every node was sent. seconds: the wall seconds of waiting for
    nodes. training, protocol: the CPU seconds of the node that took longest. bytes_up, bytes_down:
    the bytes of all nodes' answers and of all requests. nodes: how many nodes answered the upload.
    stayed_out: the reasons, of nodes, clients and the server, for which something was left out.
    """

    round: int
    exchanges: int = 0
    seconds: float = 0.0
    training: float = 0.0
    protocol: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0
    nodes: int = 0
    stayed_out: list[str] = field(default_factory=list)

    def absorb(self, other: RoundLog) -> None:
        """Add what another process spent on the same round."""
        for name in ("exchanges", "seconds", "bytes_up", "bytes_down"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.stayed_out += other.stayed_out

    def why(self) -> str:
        """Say what stayed out of the round, as far as a sentence has room for it."""
        reasons = list(dict.fromkeys(self.stayed_out))
        more = f"; and {len(reasons) - _SAID} more" if len(reasons) > _SAID else ""
        return f" ({'; '.join(reasons[:_SAID])}{more})" if reasons else ""


class Mailbox:
    """Sends the server's requests to nodes, and keeps only answers of the form that they must have.

    clients: how many there are in the whole run. caps: how large answers may be now. log: one entry
    a round, the last one open. hosted: maps each node to the numbers of its clients.
    """

    def __init__(self, transport: Transport, kinds: tuple[type, ...], clients: int) -> None:
        self._transport, self._kinds, self._clients = transport, kinds, clients
        self.caps = Caps()
        self.log: list[RoundLog] = []
        self.hosted: dict[int, np.ndarray] = {}
        self._host: dict[int, int] = {}  # client -> node

    def nodes(self) -> list[int]:
        """Return the connected nodes."""
        return self._transport.nodes()

    def settle(self, claims: Mapping[int, np.ndarray]) -> None:
        """Record which node hosts which clients, from the client numbers that each node claims.

        A node that claims clients of another is left out: they stay with the first.
        """
        self.hosted, self._host = {}, {}
        for node, ids in claims.items():
            if any(client in self._host for client in ids.tolist()):
                self.note(f"node {node} hosts clients that another node hosts")
                continue
            self.hosted[node] = ids
            self._host.update(dict.fromkeys(ids.tolist(), node))

    def exchange(self, kind: str, bodies: Mapping[int, Mapping[str, Any]]) -> Answers:
        """Send each node its body, and return the answers that came in time and in form.

        Raises nothing for an answer that is late or malformed: `note` records why it was left out.
        """
        log, out = self.log[-1], {}
        sent = {node: encode(body) for node, body in bodies.items()}
        log.exchanges += 1
        log.bytes_down += sum(map(len, sent.values()))
        started = time.perf_counter()
        received = self._transport.exchange(kind, sent)
        log.seconds += time.perf_counter() - started
        for node in sent.keys() - received.keys():
            self.note(f"node {node} did not answer {kind}")
        for node, body in received.items():
            log.bytes_up += len(body)
            try:
                if node not in sent:
                    raise ProtocolError("it was not asked")
                out[node] = self._answer(kind, node, body)
            except ProtocolError as error:
                self.note(f"node {node}, {kind}: {error}")
                continue
            log.stayed_out += out[node].get("stayed_out", [])
        return out

    def _answer(self, kind: str, node: int, body: bytes) -> dict[str, Any]:
        """A node's answer in one of the forms it may have. Raises ProtocolError."""
        # Whose clients are where is learnt from the first answer; the key holder has none, and its
        # answer names them all.
        known = kind != PREPARE and node in self.hosted
        clients = len(self.hosted[node]) if known else self._clients
        largest = self.caps.largest(kind, clients)
        if len(body) > largest:
            raise ProtocolError(f"the answer has {len(body)} bytes, and at most {largest} follow "
                                "from the plan")
        answer = decode(body, self._kinds, Caps.values(clients))
        if isinstance(answer, dict) and answer.keys() == {"refused"}:
            raise ProtocolError(str(answer["refused"])[:REASON])
        return formed(answer, ANSWERS[kind], "the answer")

    def messages(self, answers: Answers, name: str) -> list[Message]:
        """Return the clients' messages under a name, each from the node that hosts its sender."""
        out = []
        for node, answer in answers.items():
            for message in answer.get(name, []):
                if self._host.get(message.sender) == node:
                    out.append(message)
                else:
                    self.note(f"node {node} sent {name} of a client that it does not host")
        return out

    def by_node(self, messages: Sequence[Message]) -> dict[int, list[Message]]:
        """Sort messages by the node that hosts their receiver, with an entry for every node.

        A client whose node is not there gets none: it has dropped out.
        """
        out: dict[int, list[Message]] = {node: [] for node in self.hosted}
        away = [m.receiver for m in messages if m.receiver not in self._host]
        if away:
            self.note(f"the nodes of {len(away)} clients are away, client {away[0]}'s among them")
        for message in messages:
            if message.receiver in self._host:
                out[self._host[message.receiver]].append(message)
        return out

    def note(self, sentence: str) -> None:
        """Record why something was left out of the round."""
        self.log[-1].stayed_out.append(sentence)


def are_figures(value: Any) -> bool:
    """Return whether a node's answer holds the figures that it reports in an experiment."""
    return isinstance(value, dict) and value.keys() == set(_FIGURES) and all(
        math.isfinite(number) for number in value.values())
