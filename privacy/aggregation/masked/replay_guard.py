"""Which rounds a client has taken part in: no attempt twice, no second sum of one round."""

from __future__ import annotations

from dataclasses import dataclass, replace

from privacy.aggregation.masked.terms import RoundTerms
from privacy.aggregation.messages import pack, unpack
from privacy.errors import ProtocolError


@dataclass(frozen=True)
class Attendance:
    """Hold what a client remembers between rounds, and saves before it answers.

    A server that opened one round twice, over two sets of survivors, would read the difference.
    A client that has signed a list of survivors therefore joins no further attempt at that round,
    even if the server says that the first one failed: it cannot know what its neighbours revealed.
    run: the run it belongs to. last: latest round and attempt joined. signed: latest round whose
    survivors the client signed.
    """

    run: bytes
    last: tuple[int, int] = (-1, -1)
    signed: int = -1

    def joins(self, terms: RoundTerms) -> Attendance:
        """Return what is remembered after joining `terms`.

        Raises ProtocolError for another run, an attempt that was joined already or is older, and a
        round whose survivors this client signed.
        """
        if terms.run != self.run:
            raise ProtocolError("a round of another run came")
        if terms.number <= self.last:
            raise ProtocolError(f"round {terms.number} came after {self.last} was joined: a replay")
        if terms.round <= self.signed:
            raise ProtocolError(f"the survivors of round {terms.round} were signed before, and a "
                                "round opens only once")
        return replace(self, last=terms.number)

    def signs(self, terms: RoundTerms) -> Attendance:
        """Return what is remembered after signing the survivors of `terms`."""
        return replace(self, signed=max(self.signed, terms.round))

    def to_bytes(self) -> bytes:
        """Return what is remembered, for the client's own disk."""
        return pack({"run": self.run, "round": self.last[0], "attempt": self.last[1],
                     "signed": self.signed})

    @classmethod
    def from_bytes(cls, body: bytes) -> Attendance:
        """Read what `to_bytes` gave. Raises ProtocolError where it cannot be read."""
        fields = {"run": bytes, "round": int, "attempt": int, "signed": int}
        values = unpack(body, fields)
        return cls(values["run"], (values["round"], values["attempt"]), values["signed"])
