"""All clients in one process, block by block; the backend that experiments use."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from privacy import Cohort, PrivacyStack, Uploads
from privacy.aggregator import Sums
from privfedmm.federation.feature_pin import FeaturePin
from privfedmm.federation.types import Algorithm, Costs


class Simulator:
    """Trains blocks one after another and passes each through the gate.

    pin: the features that every client agreed to; with None clients take what they are given.
    """

    def __init__(self, pin: FeaturePin | None = None) -> None:
        self._pin = pin

    def gather(
        self, algorithm: Algorithm, plan: Any, clients: Any, cohort: Cohort, stack: PrivacyStack
    ) -> tuple[Sums, Costs]:
        """Gather one round in this process, and return its sums and its costs.

        Seconds are CPU seconds of the client side, gate included. Raises FeaturesChangedError,
        before a client trains, for features other than the pinned ones.
        """
        if self._pin is not None:
            self._pin.check(algorithm.public_features)
        started = time.process_time()
        gate = stack.open(cohort, algorithm.plan_hash(plan))
        loss, largest = 0.0, None
        first = stack.mechanism if cohort.round == 0 else None
        if first is not None and (first.quantise is None or first.project is not None):
            first = None  # no grid; or a budget's, whose projected values are not seen here
        for ids in algorithm.blocks(cohort.ids):
            uploads, losses = algorithm.local(plan, ids, clients)
            if first is not None:
                largest = max(largest or 0.0, _largest(uploads, first.clip.weights))
            gate.submit(ids, uploads)
            loss += float(losses.sum())
        sums = gate.close()
        size = max(len(cohort.ids), 1)
        costs = Costs(
            client_cpu_seconds=time.process_time() - started,
            bytes_up_per_client=sums.bytes_up / size,
            bytes_down_per_client=algorithm.plan_bytes(plan) + sums.bytes_down / size,
            simulation_loss=loss / size,
            simulation_zeroed=gate.zeroed,
            simulation_shortened=gate.shortened,
            simulation_largest=largest,
            survivors=sums.survivors,
            protocol_seconds=sums.seconds,
        )
        return sums, costs


def _largest(uploads: Uploads, weights: Mapping[str, float]) -> float:
    """The largest absolute value that a block has in the joint vector."""
    found = 0.0
    for name, part in uploads.items():
        values = part.held()
        if name in weights and values.numel():
            found = max(found, float(values.abs().max()) * weights[name])
    return found
