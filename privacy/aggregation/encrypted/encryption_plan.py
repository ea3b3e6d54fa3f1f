"""From a task to the terms of its encrypted round: the same for parties in one process and apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from privacy.aggregation.encrypted.terms import LEAST_CONTRIBUTORS, Terms
from privacy.aggregator import Task, dims
from privacy.crypto.he import PublicContext
from privacy.crypto.he_parameters import HEParameters, Scheme, plan


@dataclass(frozen=True)
class EncryptionPlan:
    """Hold what every party of a run settles about ciphertexts before its first round.

    run: the name of the run. scheme: of the ciphertexts. clients: most clients that a total can
    have. min_survivors: fewest clients whose sum may be released.
    """

    run: str
    scheme: Scheme
    clients: int
    min_survivors: int

    @property
    def min_decrypted(self) -> int:
        """Return the fewest clients whose encrypted total is decrypted: the total of one is its
        vector."""
        return max(self.min_survivors, LEAST_CONTRIBUTORS)

    def parameters(self, task: Task) -> HEParameters:
        """Return the parameters of a key for totals like a task's.

        Raises CapacityError where none keeps the total exact.
        """
        return plan(self.scheme, self.clients, math.ceil(task.limit))

    def terms(self, task: Task, context: PublicContext, parameters: HEParameters) -> Terms:
        """Return the terms of a task's encrypted round.

        context: the key holder's. parameters: of the run's key. Raises ProtocolError for terms
        that mean nothing, CapacityError for a total out of range.
        """
        return Terms(
            self.run, task.cohort.round, task.attempt, tuple(task.cohort.ids.tolist()),
            dims(task.releases), math.ceil(task.limit), self.min_decrypted, context.hash,
            parameters)
