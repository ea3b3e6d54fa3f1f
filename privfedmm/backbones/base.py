"""A base for backbones without a network: logits and gradients are all that is left to write."""

from __future__ import annotations

import torch
from torch import Tensor

from privfedmm.backbones.protocol import Network

_FLOATS = 4_000_000  # of item rows that are scored side by side


class PlainBackbone:
    """Holds a user vector and item rows of the same length; clients share nothing else.

    A subclass writes `logits` and `gradients` (privfedmm.backbones.protocol.Backbone), and may
    widen the table or score it faster.
    """

    name = "plain"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.width = dim

    def initial_network(self, seed: int) -> dict[str, Tensor]:
        """Return an empty mapping: this backbone has no network."""
        return {}

    def logits(self, user: Tensor, rows: Tensor, network: Network) -> Tensor:
        """Return the logits [m, L] of rows [m, L, width] for users [m, d]."""
        raise NotImplementedError

    def direction(self, user: Tensor) -> Tensor | None:
        """Return None: the derivative of a logit by its row may differ from row to row."""
        return None

    def scores(self, user: Tensor, table: Tensor, network: Network) -> Tensor:
        """Return the logits [m, items] of one table [items, width], a few users at a time."""
        size = max(1, _FLOATS // max(table.numel(), 1))
        return torch.cat([
            self.logits(part, table[None].expand(len(part), -1, -1), network)
            for part in user.split(size)])
