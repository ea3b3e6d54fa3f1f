"""How large an answer can be: from the releases of the round and the number of a node's clients.

Every part of an honest answer is of a length that the plan settles; what is here is that length,
rounded up by the names and lists around it. A longer body is refused before it is looked into.
"""

from __future__ import annotations

from dataclasses import dataclass

from privacy.aggregation.deployed import Agreed
from privacy.aggregator import Task, dims
from privfedmm.federation.transport import PREPARE, RANKS, SHARE, SIGN, UNMASK, UPLOAD

ROUND = 64 * 2**10  # bytes around the clients' parts
CLIENT = 2**11  # bytes a client: names, numbers, a proof, keys of the next round, a reason
CONTEXT = 4 * 2**20  # bytes of a key holder's public context
VALUE = 24  # bytes of a plain value: float64 or int64, with the number and the mask of its row
NEIGHBOUR = 192  # bytes of a sealed pair of shares with its hashes, or of a revealed one
VALUES, EACH = 4096, 512  # values of an answer's lists and maps: of all, and a client


@dataclass(frozen=True)
class Caps:
    """Holds the most that answers may contain in an attempt.

    plain, masked, encrypted: bytes of one client's part of each kind. neighbours: of a client in
    the graph of masks. totals: values of a decrypted total.
    """

    plain: int = 0
    masked: int = 0
    encrypted: int = 0
    neighbours: int = 0
    totals: int = 0
    holder: bool = False

    @classmethod
    def of(cls, agreed: Agreed, task: Task) -> Caps:
        """Return the caps of a task. Raises ProtocolError and CapacityError as its terms do."""
        found = {leg.way: leg.task for leg in agreed.legs(task)}
        plain = masked = encrypted = neighbours = totals = 0
        if "plain" in found:
            plain = VALUE * dims(found["plain"].releases)
        if "masked" in found:
            terms = agreed.masked_terms(found["masked"])
            masked, neighbours = 4 * terms.dims, terms.degree
        if "encrypted" in found:
            totals, used = dims(found["encrypted"].releases), agreed.parameters(found["encrypted"])
            # Two polynomials, 8 bytes a coefficient and prime, and what they are wrapped in.
            cell = 16 * used.degree * len(used.coeff_bits) + 2**12
            encrypted = used.ciphertexts(totals) * cell
        return cls(plain, masked, encrypted, neighbours, totals, "encrypted" in agreed.uses)

    def largest(self, kind: str, clients: int) -> int:
        """Return the bytes that an answer of a kind, of a node of so many clients, may have."""
        one = {PREPARE: 0, SHARE: NEIGHBOUR * self.neighbours,
               UPLOAD: self.plain + self.masked + self.encrypted,
               SIGN: NEIGHBOUR * self.neighbours, UNMASK: NEIGHBOUR * self.neighbours,
               RANKS: 0}[kind]
        extra = CONTEXT if kind == PREPARE and self.holder else 0
        # The key holder answers with its total, and names who is in it.
        extra += 8 * self.totals if kind == SIGN else 0
        return ROUND + extra + clients * (CLIENT + one)

    @staticmethod
    def values(clients: int) -> int:
        """Return how many values lists and maps of an answer may hold, all together."""
        return VALUES + EACH * clients
