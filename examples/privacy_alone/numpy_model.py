"""A logistic regression in numpy, over clients whose rows never leave them."""

import numpy as np
import torch

from privacy import (
    Budget,
    Dense,
    Everyone,
    Ledger,
    Release,
    SimulationSource,
    Survivors,
    private_sums,
)
from privacy.aggregation.masked import Tolerance
from privacy.aggregation.simulated.masked import MaskedAggregator

CLIENTS, ROUNDS, RATE = 120, 8, 4.0
rng = np.random.default_rng(0)
rows = rng.normal(size=(CLIENTS, 30, 5))  # client, row, feature
labels = (rows @ np.array([2.0, -1.0, 0.5, 0.0, 1.0]) > 0).astype(float)
weights = np.zeros(5)


def gradients(ids):
    """Each client's own mean gradient at the current weights, [clients, 5]."""
    wrong = labels[ids] - 1 / (1 + np.exp(-rows[ids] @ weights))
    return {"gradient": Dense(torch.tensor(np.einsum("cr,crf->cf", wrong, rows[ids]) / 30).float())}


sums = private_sums(
    [Release("gradient", (5,))], weights={"gradient": 1.0}, clip_norm=0.5, levels=4096,
    noise="gaussian", place="central", shares=None, ledger=Ledger((), Budget(3.0, 1e-5)),
    rounds=ROUNDS, population=CLIENTS, sampling=Everyone(),
    aggregator=MaskedAggregator(Tolerance(dropout=0.0)), survivors=Survivors(),
    source=SimulationSource(0), vault=None)  # real data: SystemSource(), whose noise has no seed
print("\n".join(sums.statement().lines()))
for number in range(ROUNDS):
    totals = sums.round(number, gradients)
    weights += RATE * totals.sums["gradient"].numpy() / totals.cohort
print(f"accuracy {((rows @ weights > 0) == labels).mean():.3f}")
print(f"ledger {len(sums.stack.ledger.entries)}, spent {sums.stack.ledger.spent(1e-5):.6f}")
