"""The honest baseline: one client after another, torch modules, DataLoader and autograd.

It trains what the vectorised simulator trains, on the same samples, and its summed update is
compared with the simulator's. No trick is left out that the usual per-client code has, and none
is added: a model a client, a dense item table, an optimiser over all parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from privfedmm.backbones.entry import Twin
from privfedmm.base.settings import LocalSettings
from privfedmm.data.types import Rows
from privfedmm.devices.samples import draw_samples
from privfedmm.gfmfr.client import rates


def train_round(
    twin: Twin,
    train: Rows,
    items: Tensor,
    users: Tensor,
    network: Mapping[str, Tensor],
    settings: LocalSettings,
    seed: int,
    round_: int,
) -> Tensor:
    """Train every client alone. Return the sum of the changes of the item table [items, width]."""
    total = torch.zeros_like(items)
    rate = rates(settings, round_, len(items))
    loss_of = nn.BCEWithLogitsLoss(reduction=settings.loss)
    for client in range(train.users):
        drawn = draw_samples(train, np.array([client]), len(items), settings, seed, round_)
        used = drawn.mask[0] > 0
        data = TensorDataset(drawn.items[0][used], drawn.labels[0][used])
        loader = DataLoader(data, batch_size=settings.batch_size or len(data), shuffle=False)
        model = twin(items, users[client], network)
        named = dict(model.named_parameters())
        table, user = named.pop("items.weight"), named.pop("user")
        heads = list(named.values())
        groups: list[dict[str, Any]] = [
            {"params": [table], "lr": rate.items,
             "weight_decay": settings.weight_decay_items},
            {"params": [user], "lr": rate.user,
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
        total += table.detach() - items
    return total
