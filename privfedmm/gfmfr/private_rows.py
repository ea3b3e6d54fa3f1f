"""Item rows of a device's own, beside the shared ones: none, of its positives, or of all items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from privfedmm.base.streams import normal
from privfedmm.data.types import Rows
from privfedmm.devices.samples import Samples


class NoRows:
    """Keeps no rows: devices have the shared rows alone."""

    def __init__(self, train_rows: Rows, items: int, width: int, seed: int) -> None:
        self._train, self._items, self._width, self._seed = train_rows, items, width, seed

    def initial(self) -> Tensor | None:
        """Return the rows of all clients before round 0, None where there are none."""
        return None

    def take(self, held: Tensor | None, ids: np.ndarray, drawn: Samples) -> Tensor | None:
        """Return the private rows [m, L, width] of the sampled items; 0 where none is kept."""
        return None

    def keep(self, held: Tensor | None, ids: np.ndarray, drawn: Samples, rows: Tensor | None,
             factor: Tensor) -> None:
        """Write trained rows [m, L, width] back; factor [m] is what decay leaves of the others."""

    def beside(self, held: Tensor | None, who: Tensor, table: Tensor) -> Tensor | None:
        """Return every item's row as clients `who` [m] score it [m, items, width].

        None stands for the rows of the table as they are.
        """
        return None


class PositiveRows(NoRows):
    """Keeps one row for each of a device's positives, from 0: [positives, width].

    They teach the shared rows and are not scored with: what they belong to is known to the user.
    """

    def initial(self) -> Tensor:
        """Return rows of 0: [positives, width]."""
        return torch.zeros(len(self._train.indices), self._width)

    def take(self, held: Tensor | None, ids: np.ndarray, drawn: Samples) -> Tensor:
        """Return the rows of sampled positives [m, L, width]; negatives have rows of 0."""
        assert held is not None
        rows = held[drawn.positive.clamp(min=0)]
        return rows * (drawn.positive >= 0)[:, :, None]

    def keep(self, held: Tensor | None, ids: np.ndarray, drawn: Samples, rows: Tensor | None,
             factor: Tensor) -> None:
        """Write the positives' rows back; rows that were not sampled stay."""
        assert held is not None and rows is not None
        kept = drawn.positive >= 0
        held[drawn.positive[kept]] = rows[kept]


class WholeTables(NoRows):
    """Keeps a table of all items on every device, as the reference has it: [n, items, width]."""

    def initial(self) -> Tensor:
        """Draw standard normal rows from each client's own stream: [n, items, width]."""
        ids = np.arange(self._train.users)
        drawn = normal(self._seed, "private", 0, ids, self._items * self._width)
        return torch.from_numpy(drawn).reshape(len(ids), self._items, self._width)

    def take(self, held: Tensor | None, ids: np.ndarray, drawn: Samples) -> Tensor:
        """Return the rows of the sampled items [m, L, width]."""
        assert held is not None
        return held[torch.from_numpy(ids)[:, None], drawn.items]

    def keep(self, held: Tensor | None, ids: np.ndarray, drawn: Samples, rows: Tensor | None,
             factor: Tensor) -> None:
        """Decay all rows, then write the sampled ones back."""
        assert held is not None and rows is not None
        who = torch.from_numpy(ids)
        held[who] *= factor[:, None, None]
        used = drawn.mask > 0
        owner = who[:, None].expand(drawn.items.shape)
        held[owner[used], drawn.items[used]] = rows[used]

    def beside(self, held: Tensor | None, who: Tensor, table: Tensor) -> Tensor:
        """Return each item's shared row plus its private row: [m, items, width]."""
        assert held is not None
        return table[None] + held[who]


# By the setting model.private_table.
PRIVATE_ROWS: dict[str, Callable[[Rows, int, int, int], NoRows]] = {
    "none": NoRows, "zero": PositiveRows, "normal": WholeTables}
