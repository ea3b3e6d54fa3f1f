"""What a round is about: fixed before anything is encrypted, signed by everyone who takes part."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from privacy.aggregation.encrypted.bodies import (
    BODIES,
    CONTEXT,
    PARAMETERS,
    RESULT,
    TERMS,
    UPLOAD,
)
from privacy.aggregation.messages import pack, unpack
from privacy.crypto.he_parameters import HEParameters
from privacy.errors import CapacityError, ProtocolError

# Fields that go by another name in the packed terms: by their first, which is in every digest.
_PACKED = {"min_survivors": "n_min"}
# Fewer contributors than two, and the "total" is one client's vector.
LEAST_CONTRIBUTORS = 2


@dataclass(frozen=True)
class Terms:
    """Hold the terms of one attempt at one round.

    run: the name of the run. cohort: the clients' numbers in rising order. dims: how many integers
    a client sends. max_abs: the largest magnitude of each. min_survivors: fewest clients whose
    total may be decrypted. context: hash [32] of the KeyHolder's public context. parameters: of the
    KeyHolder's key.
    Raises ProtocolError for terms that mean nothing, CapacityError for a total out of range.
    """

    run: str
    round: int
    attempt: int
    cohort: tuple[int, ...]
    dims: int
    max_abs: int
    min_survivors: int
    context: bytes
    parameters: HEParameters

    def __post_init__(self) -> None:
        if min(self.round, self.attempt, *self.cohort, 0) < 0 or min(self.dims, self.max_abs) < 1:
            raise ProtocolError("numbers of rounds and clients start at 0, dims and max_abs at 1")
        if list(self.cohort) != sorted(set(self.cohort)):
            raise ProtocolError("a cohort lists every client once, in rising order")
        if not LEAST_CONTRIBUTORS <= self.min_survivors <= len(self.cohort):
            raise ProtocolError(
                f"min_survivors is {self.min_survivors}; it lies between {LEAST_CONTRIBUTORS} and "
                f"the cohort's {len(self.cohort)}, or one client's vector would be the total"
            )
        planned = self.parameters
        if len(self.cohort) > planned.clients or self.max_abs > planned.max_abs:
            raise CapacityError(
                f"{len(self.cohort)} clients of {self.max_abs} exceed the key's {planned.clients} "
                f"of {planned.max_abs}; plan a key for more"
            )

    @property
    def at(self) -> tuple[int, int]:
        """Return round and attempt, as messages carry them."""
        return self.round, self.attempt

    @cached_property
    def members(self) -> frozenset[int]:
        """Return the cohort, to look clients up."""
        return frozenset(self.cohort)

    @cached_property
    def digest(self) -> bytes:
        """Return the SHA-256 [32] of the terms, which is what signatures stand for."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """Return the terms as they travel."""
        values = asdict(self)
        # In the place and by the name that it has in every digest; the order is part of the bytes.
        return pack({_PACKED.get(name, name): value for name, value in values.items()})

    @classmethod
    def from_bytes(cls, body: bytes) -> Terms:
        """Read the terms of `to_bytes`. Raises ProtocolError where the bytes hold none."""
        values = unpack(body, BODIES[TERMS])
        values["min_survivors"] = values.pop(_PACKED["min_survivors"])
        values["cohort"] = tuple(values["cohort"])
        values["parameters"] = parameters_from(values["parameters"])
        try:
            return cls(**values)
        except CapacityError as error:
            # Own settings can be out of range; a message that is, is one that is refused.
            raise ProtocolError(str(error)) from error


def parameters_from(values: dict[str, Any]) -> HEParameters:
    """Read parameters as they travel. Raises ProtocolError, also where none could be planned so."""
    PARAMETERS.check(values, "parameters")
    try:
        return HEParameters(**{**values, "coeff_bits": tuple(values["coeff_bits"])})
    except (ValueError, ArithmeticError) as error:
        # A capacity that is exceeded, or numbers of which none can be worked out.
        raise ProtocolError(f"encryption parameters cannot be read ({error})") from error


def upload_statement(terms: Terms, client: int, ciphertext: bytes) -> dict[str, Any]:
    """Return what a client signs: that it sent this ciphertext (its hash) under these terms."""
    return {
        "purpose": UPLOAD, "run": terms.run, "round": terms.round, "attempt": terms.attempt,
        "context": terms.context, "terms": terms.digest, "client": client,
        "ciphertext": ciphertext,
    }


def context_statement(
    run: str, context: bytes, parameters: HEParameters, cell_bytes: int
) -> dict[str, Any]:
    """Return what the KeyHolder signs of its public context (its hash)."""
    return {"purpose": CONTEXT, "run": run, "context": context,
            "parameters": asdict(parameters), "cell_bytes": cell_bytes}


def result_statement(terms: Terms, totals: bytes, contributors: list[int]) -> dict[str, Any]:
    """Return what the KeyHolder signs of a total."""
    return {"purpose": RESULT, "terms": terms.digest,
            "totals": hashlib.sha256(totals).digest(), "contributors": contributors}
