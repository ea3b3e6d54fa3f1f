"""Clients as torch modules, one a backbone: what autograd makes of the same model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MfTwin(nn.Module):
    """Computes matrix factorisation with item biases as a torch module."""

    def __init__(self, items: Tensor, user: Tensor, network: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.items = nn.Embedding.from_pretrained(items.clone(), freeze=False)
        self.user = nn.Parameter(user.clone())

    def forward(self, item: Tensor) -> Tensor:
        """Return the logits [n] of items [n]."""
        rows = self.items(item)
        return rows[:, :-1] @ self.user + rows[:, -1]


class FedRapTwin(nn.Module):
    """Computes the FedRAP-style client without a private table as a torch module."""

    def __init__(self, items: Tensor, user: Tensor, network: Mapping[str, Tensor]) -> None:
        super().__init__()
        dim = len(user)
        self.items = nn.Embedding.from_pretrained(items.clone(), freeze=False)
        self.user = nn.Parameter(user.clone())
        self.mlp = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU())
        self.affine_output = nn.Linear(dim, 1)
        self.load_state_dict(dict(network), strict=False)

    def forward(self, item: Tensor) -> Tensor:
        """Return the logits [n] of items [n]."""
        rows = self.items(item)
        joined = torch.cat([self.user.expand(len(item), -1), rows], dim=1)
        return self.affine_output(self.mlp(joined))[:, 0]
