"""Which rounds a client has taken part in: no attempt twice, no second sum of one round."""

from __future__ import annotations

from dataclasses import dataclass, replace

from privacy.aggregation.masked.terms import RoundTerms
from privacy.aggregation.messages import pack, unpack
from privacy.errors import ProtocolError


@dataclass(frozen=True)
class Attendance:
    """What a client remembers between rounds, and saves before it answers.

    A server that opened one round twice, over two sets of survivors, would read the difference.
    A client that has helped to open a round therefore joins no further attempt at it, even if
    the server says that the first one failed. run: the run it belongs to. last: latest round and
    attempt joined. opened: latest round that the client helped to open.
    """

    run: bytes
    last: tuple[int, int] = (-1, -1)
    opened: int = -1

    def joins(self, terms: RoundTerms) -> Attendance:
        """After joining `terms`. Raises ProtocolError for another run, an attempt that was
        joined already or is older, and a round that this client helped to open."""
        if terms.run != self.run:
            raise ProtocolError("a round of another run came")
        if terms.number <= self.last:
            raise ProtocolError(f"round {terms.number} came after {self.last} was joined: a replay")
        if terms.round <= self.opened:
            raise ProtocolError(f"round {terms.round} was opened before, and opens only once")
        return replace(self, last=terms.number)

    def opens(self, terms: RoundTerms) -> Attendance:
        """After revealing shares in `terms`."""
        return replace(self, opened=max(self.opened, terms.round))

    def to_bytes(self) -> bytes:
        """What is remembered, for the client's own disk."""
        return pack({"run": self.run, "round": self.last[0], "attempt": self.last[1],
                     "opened": self.opened})

    @classmethod
    def from_bytes(cls, body: bytes) -> Attendance:
        """What `to_bytes` gave. Raises ProtocolError where it cannot be read."""
        fields = {"run": bytes, "round": int, "attempt": int, "opened": int}
        values = unpack(body, fields)
        return cls(values["run"], (values["round"], values["attempt"]), values["opened"])
