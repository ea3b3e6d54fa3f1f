"""What every party settles from its own settings, so that no message can change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from privacy.aggregation.encrypted.encryption_plan import EncryptionPlan
from privacy.aggregation.encrypted.terms import Terms
from privacy.aggregation.masked.mask_plan import MaskPlan
from privacy.aggregation.masked.terms import Floor, RoundTerms
from privacy.aggregation.masked.tolerance import Tolerance
from privacy.aggregation.routes import by_route
from privacy.aggregator import Task
from privacy.crypto.beacon import drawn
from privacy.crypto.he import PublicContext
from privacy.crypto.he_parameters import HEParameters, Scheme
from privacy.errors import ProtocolError

Way = Literal["plain", "masked", "encrypted"]
# The ways of summing whose protocol parties in processes of their own speak, by name: whatever else
# an aggregator may say of itself, a deployment carries these.
WAYS: tuple[Way, ...] = get_args(Way)


def way_of(name: str) -> Way:
    """Return the way of an aggregator of that name.

    Raises ProtocolError for one that no node speaks.
    """
    for way in WAYS:
        if way == name:
            return way
    raise ProtocolError(f"nodes do not speak the protocol of {name!r}; they speak "
                        f"{', '.join(WAYS)}")


@dataclass(frozen=True)
class Leg:
    """Hold the releases of a round that travel one way.

    way: the protocol that carries them. task: the round's task, of these releases alone.
    """

    way: Way
    task: Task


@dataclass(frozen=True)
class Agreed:
    """Hold the protocols of a run, as every party settles them from its own settings.

    run: 16 bytes that name it. updates, statistics: how each kind of release travels. clients: how
    many there are in the whole run. min_survivors: fewest clients whose sum may be released.
    tolerance: whom masked sums are to hold against, and how many dropouts they are to bear.
    commitments: the nodes' to their parts of the beacon that mask graphs are drawn from, by name.
    scheme: of the ciphertexts.
    """

    run: bytes
    updates: Way
    statistics: Way
    clients: int
    min_survivors: int
    tolerance: Tolerance
    commitments: Mapping[str, bytes]
    scheme: Scheme

    def legs(self, task: Task) -> list[Leg]:
        """Return the task of a round, divided by the way that its releases travel."""
        if self.updates == self.statistics:
            return [Leg(self.updates, task)] if task.releases else []
        return [Leg(self.statistics if statistic else self.updates, part)
                for statistic, part in by_route(task)]

    def leg(self, task: Task, way: Way) -> Leg | None:
        """Return the part of a round that travels one way; None where nothing does."""
        return next((leg for leg in self.legs(task) if leg.way == way), None)

    @property
    def uses(self) -> frozenset[Way]:
        """Return the ways of the run."""
        return frozenset({self.updates, self.statistics})

    def masked_terms(self, task: Task, beacon: bytes | None = None) -> RoundTerms:
        """Return the terms of a masked leg, the plan's hash still open.

        beacon: what the nodes' parts give; None: still to come. Raises ProtocolError for
        fewer than 3 clients, and where no graph bears what is asked."""
        return MaskPlan(self.run, self.tolerance, beacon).terms(task, None)

    def beacon(self, parts: Mapping[str, bytes]) -> bytes:
        """Return the beacon [32] of parts of enough nodes, as `Tolerance.fewest_parts` says.

        Raises ProtocolError for too few and for wrong ones, and where not every owner that was
        planned for has committed to one part: others would be more to choose from."""
        fewest, owners = self.tolerance.fewest_parts, self.tolerance.owners.sizes
        if owners is not None and len(owners) != len(self.commitments):
            raise ProtocolError(f"{len(self.commitments)} nodes committed to parts of the run's "
                                f"beacon, and {len(owners)} were planned for")
        return drawn(self.run, self.commitments, parts,
                     len(self.commitments) if fewest is None else fewest)

    def floor(self, task: Task) -> Floor:
        """Return the least that a client accepts of the terms of a masked leg."""
        return MaskPlan(self.run, self.tolerance).floor(task)

    def parameters(self, task: Task) -> HEParameters:
        """Return the parameters of the run's key.

        Raises CapacityError where none keeps the total exact.
        """
        return self._ciphertexts.parameters(task)

    def encrypted_terms(self, task: Task, context: PublicContext) -> Terms:
        """Return the terms of an encrypted leg.

        Raises ProtocolError for terms that mean nothing, CapacityError for a total out of range.
        """
        return self._ciphertexts.terms(task, context, self.parameters(task))

    @property
    def min_decrypted(self) -> int:
        """Return the fewest clients whose encrypted total is decrypted: the total of one is its
        vector."""
        return self._ciphertexts.min_decrypted

    @property
    def _ciphertexts(self) -> EncryptionPlan:
        return EncryptionPlan(self.run.hex(), self.scheme, self.clients, self.min_survivors)
