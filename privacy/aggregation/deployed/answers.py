"""Answers that were given once, for a server that stopped before it had read them."""

from __future__ import annotations

from dataclasses import dataclass, field

from privacy.aggregation.messages import Message
from privacy.errors import ProtocolError


@dataclass
class Given:
    """Keep the answers of a node's clients to the requests of a round.

    answers: (client, kind of request) -> hash [32] of the request, and the answer that it got.

    Giving the same bytes to the same request again tells nothing new, whoever asks. For any other
    request of that kind there is no answer here, and none by a client that has gone on.
    """

    answers: dict[tuple[int, str], tuple[bytes, Message]] = field(default_factory=dict)

    def again(self, request: Message) -> Message | None:
        """Return the answer to this very request, None where there was none."""
        digest, answer = self.answers.get((request.receiver, request.kind), (b"", None))
        return answer if digest == request.digest() else None

    def keep(self, request: Message, answer: Message) -> None:
        """Remember an answer before it leaves."""
        self.answers[request.receiver, request.kind] = request.digest(), answer

    def to_state(self) -> list[object]:
        """Return the answers for the node's own disk; the server has been sent all of them."""
        return [[client, kind, digest, answer]
                for (client, kind), (digest, answer) in self.answers.items()]

    @classmethod
    def from_state(cls, state: object) -> Given:
        """Read the answers of `to_state`. Raises ProtocolError for anything but a list."""
        if not isinstance(state, list):
            raise ProtocolError("answers of a saved state must be a list")
        return cls({(client, kind): (digest, answer) for client, kind, digest, answer in state})
