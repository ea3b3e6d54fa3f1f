"""Matrix factorisation with item biases: y = sigmoid(p . v_i + b_i); no network to share."""

from __future__ import annotations

import torch
from torch import Tensor

from privfedmm.backbones.entry import BackboneEntry
from privfedmm.backbones.protocol import Gradients, Network
from privfedmm.backbones.twins import MfTwin


class MatrixFactorisation:
    """Factorises with an item table [items, d + 1]: d factors, and the bias as the last column."""

    name = "mf"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.width = dim + 1

    def initial_network(self, seed: int) -> dict[str, Tensor]:
        """Return an empty mapping: there is no network to share."""
        return {}

    def _extended(self, user: Tensor) -> Tensor:
        return torch.cat([user, torch.ones(user.shape[0], 1)], dim=1)

    def logits(self, user: Tensor, rows: Tensor, network: Network) -> Tensor:
        """Return p . v_i + b_i of every row: [m, L]."""
        # A row times a matrix: several times faster than the matrix times a column, and to the last
        # bit the same for a client alone and in a block, as the products below are.
        return torch.bmm(self._extended(user)[:, None, :], rows.transpose(1, 2))[:, 0]

    def gradients(
        self, user: Tensor, rows: Tensor, network: Network, residual: Tensor
    ) -> Gradients:
        """Return the gradients for residual [m, L], none of them of a network."""
        by_user = torch.bmm(residual[:, None, :], rows[:, :, : self.dim])[:, 0]
        by_rows = residual[:, :, None] * self._extended(user)[:, None, :]
        return Gradients(by_user, by_rows, {})

    def direction(self, user: Tensor) -> Tensor:
        """Return the user vector with a 1 for the bias, [m, d + 1]: it is the same for all rows."""
        return self._extended(user)

    def scores(self, user: Tensor, table: Tensor, network: Network) -> Tensor:
        """Return the logits [m, items] of one table [items, d + 1]."""
        return torch.addmm(table[:, self.dim], user, table[:, : self.dim].T)


MF = BackboneEntry(
    name="mf", summary="matrix factorisation with item biases; no network to share",
    reference="Koren, Bell and Volinsky 2009, equation 4, without user bias",
    build=MatrixFactorisation, twin=MfTwin, public_subspace=True, per_example=True)
