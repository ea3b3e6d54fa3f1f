"""A small torch network, trained on sums that hide every client from the server too."""

import torch
from torch.func import functional_call, grad, vmap

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

CLIENTS, ROUNDS, RATE = 120, 10, 4.0
torch.manual_seed(0)
x = torch.randn(CLIENTS, 20, 2)  # client, row, feature
y = (x[..., :1] * x[..., 1:] > 0).float()
net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
params = {name: p.detach() for name, p in net.named_parameters()}


def loss(params, x, y):
    return torch.nn.functional.binary_cross_entropy_with_logits(
        functional_call(net, params, (x,)), y)


def gradients(ids):
    each = vmap(grad(loss), in_dims=(None, 0, 0))(params, x[ids], y[ids])
    return {name: Dense(g) for name, g in each.items()}


sums = private_sums(
    [Release(name, tuple(p.shape)) for name, p in params.items()],
    weights=dict.fromkeys(params, 1.0), clip_norm=0.5, levels=1024,
    noise="gaussian", place="distributed", shares=CLIENTS, ledger=Ledger((), Budget(8.0, 1e-5)),
    rounds=ROUNDS, population=CLIENTS, sampling=Everyone(),
    aggregator=MaskedAggregator(Tolerance(dropout=0.0)), survivors=Survivors(),
    source=SimulationSource(0), vault=None)  # real data: SystemSource(), whose noise has no seed
print("\n".join(sums.statement().lines()))
for number in range(ROUNDS):
    totals = sums.round(number, gradients)
    params = {n: p - RATE * totals.sums[n] / totals.cohort for n, p in params.items()}
print(f"loss {loss(params, x.flatten(0, 1), y.flatten(0, 1)):.3f}")
print(f"ledger {len(sums.stack.ledger.entries)}, spent {sums.stack.ledger.spent(1e-5):.6f}")
