"""The FedRAP-style model: y = sigmoid(h . relu(W [p ; v_i] + b) + h0), v_i = A_u[i] + C[i].

Parameter names are those of the reference implementation: `mlp.0.weight` [d, 2d], `mlp.0.bias`
[d], `affine_output.weight` [1, d], `affine_output.bias` [1].
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from privfedmm.backbones.entry import BackboneEntry
from privfedmm.backbones.protocol import Gradients, Network
from privfedmm.backbones.twins import FedRapTwin
from privfedmm.base.streams import uniform

W, B, H, H0 = "mlp.0.weight", "mlp.0.bias", "affine_output.weight", "affine_output.bias"


class FedRAP:
    """Computes the FedRAP-style model on an item table [items, d].

    The half of the first layer that reads the user vector is constant within a step.
    """

    name = "fedrap"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.width = dim

    def initial_network(self, seed: int) -> dict[str, Tensor]:
        """Draw the network uniformly in +-1/sqrt(fan in), as torch starts its linear layers."""
        d = self.dim
        shapes = {W: ((d, 2 * d), 2 * d), B: ((d,), 2 * d), H: ((1, d), d), H0: ((1,), d)}
        network = {}
        for name, (shape, fan_in) in shapes.items():
            draw = uniform(seed, f"network/{name}", 0, np.zeros(1), math.prod(shape))
            bound = 1 / math.sqrt(fan_in)
            network[name] = torch.from_numpy((2 * draw - 1) * bound).float().reshape(shape)
        return network

    def _hidden(self, user: Tensor, rows: Tensor, network: Network) -> Tensor:
        weight = network[W]
        by_user = torch.bmm(user[:, None, :], weight[:, :, : self.dim].transpose(1, 2))[:, 0]
        by_user += network[B]
        by_item = torch.bmm(rows, weight[:, :, self.dim :].transpose(1, 2))
        return (by_item + by_user[:, None, :]).relu_()

    def logits(self, user: Tensor, rows: Tensor, network: Network) -> Tensor:
        """Return h . relu(W [p ; v_i] + b) + h0 of every row: [m, L]."""
        hidden = self._hidden(user, rows, network)
        return torch.bmm(network[H], hidden.transpose(1, 2))[:, 0] + network[H0]

    def gradients(
        self, user: Tensor, rows: Tensor, network: Network, residual: Tensor
    ) -> Gradients:
        """Return the gradients for residual [m, L], with one for each parameter of the network."""
        hidden = self._hidden(user, rows, network)
        by_head = torch.bmm(residual[:, None, :], hidden)
        by_hidden = residual[:, :, None] * network[H] * (hidden > 0)
        by_bias = by_hidden.sum(1)
        weight = network[W]
        by_rows = torch.bmm(by_hidden, weight[:, :, self.dim :])
        by_user = torch.bmm(by_bias[:, None, :], weight[:, :, : self.dim])[:, 0]
        by_weight = torch.cat(
            [by_bias[:, :, None] * user[:, None, :], torch.bmm(by_hidden.transpose(1, 2), rows)],
            dim=2,
        )
        network_gradient = {W: by_weight, B: by_bias, H: by_head, H0: residual.sum(1)[:, None]}
        return Gradients(by_user, by_rows, network_gradient)

    def direction(self, user: Tensor) -> None:
        """Return None: which hidden units are on differs from row to row."""
        return None  # which hidden units are on differs from row to row

    def scores(self, user: Tensor, table: Tensor, network: Network) -> Tensor:
        """Return the logits [m, items] of one table, a few users at a time.

        The hidden layer is [m, items, d].
        """
        out = torch.empty(user.shape[0], table.shape[0])
        step = max(1, 4_000_000 // (table.shape[0] * self.dim))
        for start in range(0, user.shape[0], step):
            part = slice(start, start + step)
            local = {name: value[part] for name, value in network.items()}
            rows = table[None].expand(user[part].shape[0], -1, -1)
            out[part] = self.logits(user[part], rows, local)
        return out


FEDRAP = BackboneEntry(
    name="fedrap", summary="a shared network on user vector and item row, as FedRAP's client",
    reference="Li, Long and Zhou 2024 (FedRAP, ICLR), as the GFMFR reference code has it",
    build=FedRAP, twin=FedRapTwin, network=True, head=(H, H0),
    # With the rates of mf the network diverges.
    settings={"local": {"lr_user": 0.01, "lr_items": 0.01, "lr_network": 0.001,
                        "weight_decay_user": 0.1}})
