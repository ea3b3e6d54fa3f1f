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
    """Holds the gradients of one scalar loss per client.

    user: the gradient by the user vector [m, d]. rows: by the item rows [m, L, width]. network: by
    each parameter of the network, name -> [m, *shape].
    """

    user: Tensor
    rows: Tensor
    network: dict[str, Tensor]


class Backbone(Protocol):
    """Defines a client model: a user vector, rows of an item table, and a network (maybe empty)."""

    @property
    def name(self) -> str:
        """Return the name of the backbone in configs and records."""
        ...

    @property
    def dim(self) -> int:
        """Return the length of a user vector."""
        ...

    @property
    def width(self) -> int:
        """Return the number of columns of the item table."""
        ...

    def initial_network(self, seed: int) -> dict[str, Tensor]:
        """Return the shared network before the first round; it is empty where the model has none.
        """
        ...

    def logits(self, user: Tensor, rows: Tensor, network: Network) -> Tensor:
        """Return the logits [m, L] of rows [m, L, width] for users [m, d], one network a client."""
        ...

    def gradients(
        self, user: Tensor, rows: Tensor, network: Network, residual: Tensor
    ) -> Gradients:
        """Return the gradients for residual [m, L], the derivative of the loss by each logit."""
        ...

    def direction(self, user: Tensor) -> Tensor | None:
        """Return d logit / d row [m, width] where it is the same for all rows, else None."""
        ...

    def scores(self, user: Tensor, table: Tensor, network: Network) -> Tensor:
        """Return the logits [m, items] of one table [items, width].

        Users are [m, d], and networks name -> [m, *shape].
        """
        ...
