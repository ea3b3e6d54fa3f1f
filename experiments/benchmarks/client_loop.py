"""The honest baseline: one client after another, torch modules, DataLoader and autograd.

It trains what the vectorised simulator trains, on the same samples, and its summed update is
compared with the simulator's. No trick is left out that the usual per-client code has, and none
is added: a model a client, a dense item table, an optimiser over all parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from privfedmm.backbones.fedrap import H0, B, H, W
from privfedmm.data.types import Rows
from privfedmm.gfmfr.client import rates
from privfedmm.gfmfr.samples import draw_samples
from privfedmm.settings import LocalSettings


class MfModel(nn.Module):
    """Matrix factorisation with item biases, as a torch module."""

    def __init__(self, items: Tensor, user: Tensor, network: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.items = nn.Embedding.from_pretrained(items.clone(), freeze=False)
        self.user = nn.Parameter(user.clone())

    def forward(self, item: Tensor) -> Tensor:
        rows = self.items(item)
        return rows[:, :-1] @ self.user + rows[:, -1]


class FedRapModel(nn.Module):
    """The FedRAP-style client without a private table, as a torch module."""

    def __init__(self, items: Tensor, user: Tensor, network: Mapping[str, Tensor]) -> None:
        super().__init__()
        dim = len(user)
        self.items = nn.Embedding.from_pretrained(items.clone(), freeze=False)
        self.user = nn.Parameter(user.clone())
        self.mlp = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU())
        self.affine_output = nn.Linear(dim, 1)
        self.load_state_dict({name: network[name] for name in (W, B, H, H0)}, strict=False)

    def forward(self, item: Tensor) -> Tensor:
        rows = self.items(item)
        joined = torch.cat([self.user.expand(len(item), -1), rows], dim=1)
        return self.affine_output(self.mlp(joined))[:, 0]


def train_round(
    model_type: type[MfModel] | type[FedRapModel],
    train: Rows,
    items: Tensor,
    users: Tensor,
    network: Mapping[str, Tensor],
    settings: LocalSettings,
    seed: int,
    round_: int,
) -> Tensor:
    """Train every client alone; the sum of the changes of the item table [items, width]."""
    total = torch.zeros_like(items)
    rate = rates(settings, round_, len(items))
    loss_of = nn.BCEWithLogitsLoss(reduction=settings.loss)
    for client in range(train.users):
        drawn = draw_samples(train, np.array([client]), len(items), settings, seed, round_)
        used = drawn.mask[0] > 0
        data = TensorDataset(drawn.items[0][used], drawn.labels[0][used])
        loader = DataLoader(data, batch_size=settings.batch_size or len(data), shuffle=False)
        model = model_type(items, users[client], network)
        heads = [p for n, p in model.named_parameters() if n.startswith(("mlp", "affine"))]
        groups = [
            {"params": [model.items.weight], "lr": rate.items,
             "weight_decay": settings.weight_decay_items},
            {"params": [model.user], "lr": rate.user,
             "weight_decay": settings.weight_decay_user},
        ]
        if heads:
            groups.append({"params": heads, "lr": rate.network,
                           "weight_decay": settings.weight_decay_network})
        optimiser = torch.optim.SGD(groups)
        for _ in range(settings.epochs):
            for item, label in loader:
                optimiser.zero_grad()
                loss = loss_of(model(item), label)
                loss.backward()
                optimiser.step()
        total += model.items.weight.detach() - items
    return total
