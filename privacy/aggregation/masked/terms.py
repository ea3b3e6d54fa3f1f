"""What all parties of a masked round must agree on, hashed into everything they exchange."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from privacy.aggregation.masked.graph import Graph
from privacy.aggregation.masked.tolerance import MAX_ATTEMPTS
from privacy.aggregation.messages import pack, unpack
from privacy.errors import ProtocolError

# The keys of the packed terms. `plan_hash` goes by its first name, which is in every setup digest.
_FIELDS = {
    "run": bytes, "round": int, "attempt": int, "cohort": bytes, "dims": int, "degree": int,
    "threshold": int, "min_survivors": int, "model_hash": bytes,
    "beacon": bytes,
}
BEACON_BYTES = 32


@dataclass(frozen=True)
class Floor:
    """Hold the least that a client accepts of terms, from its own settings and not from the server.

    threshold: fewest shares that recover a secret. min_survivors: fewest clients that a sum may
    have. degree: most neighbours of a client: with more of them the same threshold holds against
    fewer colluders.
    """

    threshold: int
    min_survivors: int
    degree: int


@dataclass(frozen=True)
class RoundTerms:
    """Hold the terms of one attempt at one round of masked summing.

    run: bytes that name the run. cohort: client numbers, ascending. dims: numbers of a vector.
    degree: neighbours of a client in the mask graph, even, or one less than the cohort for the
    complete graph. threshold: neighbours whose shares recover a secret. min_survivors: fewest
    clients whose sum may be opened. plan_hash: hash of the plan that this party received, which is
    what all clients are told in the round; None while it is not there yet, which is enough to
    advertise and share keys ahead of time. beacon: bytes [32] that the mask graph is drawn from,
    chosen by no single party; None while it is not there yet, which is enough to advertise.
    Raises ProtocolError where the values cannot make a round.
    """

    run: bytes
    round: int
    attempt: int
    cohort: tuple[int, ...]
    dims: int
    degree: int
    threshold: int
    min_survivors: int
    plan_hash: bytes | None
    beacon: bytes | None

    def __post_init__(self) -> None:
        n = len(self.cohort)
        if n < 3 or any(a >= b for a, b in zip(self.cohort, self.cohort[1:], strict=False)):
            raise ProtocolError("a cohort must name 3 clients or more, each once and ascending")
        if self.cohort[0] < 0:
            raise ProtocolError("a client's number must not be negative")
        if self.degree != n - 1 and (self.degree % 2 or not 2 <= self.degree < n - 1):
            raise ProtocolError(f"degree {self.degree} must be even, from 2 to {n - 1}, or {n - 1}")
        if not 2 <= self.threshold <= self.degree:
            raise ProtocolError(f"threshold {self.threshold} must be from 2 to the degree")
        if not 2 <= self.min_survivors <= n:
            raise ProtocolError(f"min_survivors {self.min_survivors} must be from 2 to {n}")
        if self.dims < 1 or self.round < 0 or self.attempt < 0 or not self.run:
            raise ProtocolError("a round needs a run, numbers from 0 and a vector of 1 or more")
        if self.attempt >= MAX_ATTEMPTS:
            raise ProtocolError(f"attempt {self.attempt} at round {self.round}: a round is tried "
                                f"{MAX_ATTEMPTS} times at most, so that nobody has more graphs to "
                                "choose from")
        if self.beacon is not None and len(self.beacon) != BEACON_BYTES:
            raise ProtocolError(f"a beacon must have {BEACON_BYTES} bytes")
        if self.plan_hash is not None and not self.plan_hash:
            raise ProtocolError("the plan's hash must not be empty; None stands for not there yet")

    @property
    def number(self) -> tuple[int, int]:
        """Return round and attempt, as every message of the round carries them."""
        return self.round, self.attempt

    @cached_property
    def setup_digest(self) -> bytes:
        """Return the hash [32] of everything but the plan, for keys and shares that travel before
        it."""
        return hashlib.sha256(b"privfedmm masked sum 1 setup" + self._packed(b"")).digest()

    @cached_property
    def digest(self) -> bytes:
        """Return the hash [32] of all terms, the plan's included.

        Raises ProtocolError without a plan.
        """
        if self.plan_hash is None:
            raise ProtocolError("the terms lack the hash of the plan: add it by with_plan")
        plan, beacon = hashlib.sha256(self.plan_hash).digest(), self._drawn_from
        return hashlib.sha256(
            b"privfedmm masked sum 2" + self.setup_digest + beacon + plan).digest()

    @cached_property
    def graph(self) -> Graph:
        """Return who masks with whom: beacon and setup digest fix it, so every client can check it.

        Raises ProtocolError while there is no beacon."""
        drawn = hashlib.sha256(b"privfedmm mask graph" + self._drawn_from + self.setup_digest)
        return Graph.of(len(self.cohort), self.degree, drawn.digest())

    @property
    def _drawn_from(self) -> bytes:
        if self.beacon is None:
            raise ProtocolError("the terms lack the beacon that the graph is drawn from: add it by "
                                "with_beacon")
        return self.beacon

    @cached_property
    def position(self) -> dict[int, int]:
        """Return client number -> place in the cohort."""
        return {number: place for place, number in enumerate(self.cohort)}

    def with_plan(self, plan_hash: bytes) -> RoundTerms:
        """Return the same terms with the hash of the plan that came.

        Raises ProtocolError where they hold another.
        """
        if self.plan_hash not in (None, plan_hash):
            raise ProtocolError("these terms hold the hash of another plan")
        if self.plan_hash == plan_hash:
            return self
        changed = replace(self, plan_hash=plan_hash)
        # The graph does not depend on the plan, and is what takes long.
        for name in ("graph", "setup_digest", "position"):
            if name in self.__dict__:
                changed.__dict__[name] = self.__dict__[name]
        return changed

    def with_beacon(self, beacon: bytes) -> RoundTerms:
        """Return the same terms with the beacon that came.

        Raises ProtocolError where they hold another.
        """
        if self.beacon not in (None, beacon):
            raise ProtocolError("these terms hold another beacon")
        return self if self.beacon == beacon else replace(self, beacon=beacon)

    def require(self, floor: Floor) -> None:
        """Check that the terms meet what a client accepts.

        Raises ProtocolError where they fall below it.
        """
        if self.threshold < floor.threshold:
            raise ProtocolError(f"threshold {self.threshold} is below the agreed {floor.threshold}")
        if self.degree > floor.degree:
            raise ProtocolError(f"degree {self.degree} is above the agreed {floor.degree}")
        if self.min_survivors < floor.min_survivors:
            raise ProtocolError(
                f"min_survivors {self.min_survivors} is below the agreed {floor.min_survivors}"
            )

    def _packed(self, plan_hash: bytes, **more: bytes) -> bytes:
        return pack({
            "run": self.run, "round": self.round, "attempt": self.attempt,
            "cohort": np.array(self.cohort, dtype="<i8").tobytes(), "dims": self.dims,
            "degree": self.degree, "threshold": self.threshold,
            "min_survivors": self.min_survivors, "model_hash": plan_hash, **more,
        })

    def to_bytes(self) -> bytes:
        """Return the terms as bytes, for a message or a saved state."""
        return self._packed(self.plan_hash or b"", beacon=self.beacon or b"")

    @classmethod
    def from_bytes(cls, body: bytes) -> RoundTerms:
        """Read the terms of `to_bytes`. Raises ProtocolError where the bytes hold none."""
        values = unpack(body, _FIELDS)
        if len(values["cohort"]) % 8:
            raise ProtocolError("a cohort must be whole numbers of 8 bytes")
        values["cohort"] = tuple(np.frombuffer(values["cohort"], dtype="<i8").tolist())
        values["plan_hash"] = values.pop("model_hash") or None
        values["beacon"] = values["beacon"] or None
        return cls(**values)
