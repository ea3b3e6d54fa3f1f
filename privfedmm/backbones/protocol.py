"""What a backbone must offer: logits and hand-written gradients, row by row of a block of clients.

Shapes: m clients in a block, L samples each, `width` columns of the item table, d latent size.
Gradients are written by hand because autograd would keep every intermediate of every client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

Network = Mapping[str, Tensor]  # name -> [*shape] (shared) or [m, *shape] (one a client)


class Gradients(NamedTuple):
    """Of a scalar loss a client: user [m, d], rows [m, L, width], network name -> [m, *shape]."""

    user: Tensor
    rows: Tensor
    network: dict[str, Tensor]


class Backbone(Protocol):
    """A client model: a user vector, rows of an item table, and a small network (maybe empty)."""

    @property
    def name(self) -> str:
        """Name in configs and records."""
        ...

    @property
    def dim(self) -> int:
        """Length of a user vector."""
        ...

    @property
    def width(self) -> int:
        """Columns of the item table."""
        ...

    def initial_network(self, seed: int) -> dict[str, Tensor]:
        """The shared network before the first round; empty where the model has none."""
        ...

    def logits(self, user: Tensor, rows: Tensor, network: Network) -> Tensor:
        """Logits [m, L] of rows [m, L, width] for users [m, d], one network a client."""
        ...

    def gradients(
        self, user: Tensor, rows: Tensor, network: Network, residual: Tensor
    ) -> Gradients:
        """Gradients for residual [m, L], the derivative of the loss by each logit."""
        ...

    def direction(self, user: Tensor) -> Tensor | None:
        """d logit / d row [m, width] where it is the same for all rows; None where it is not."""
        ...

    def scores(self, user: Tensor, table: Tensor, network: Network) -> Tensor:
        """Logits [m, items] of one table [items, width] for users [m, d], networks [m, ...]."""
        ...
