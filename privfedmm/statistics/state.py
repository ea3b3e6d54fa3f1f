"""What the server of the statistics methods has released, and what the devices keep."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class StatisticsState:
    """Holds what the server has released.

    counts [items]: the released popularity. associations [r, r]: the matrix of what goes with what.
    correction [K, items]: what each group adds to scores. All are zeros before their rounds. round:
    the number of rounds played.
    """

    round: int
    counts: Tensor
    associations: Tensor
    correction: Tensor

    def tensors(self) -> list[Tensor]:
        """Return all tensors that are broadcast."""
        return [self.counts, self.associations, self.correction]


@dataclass
class StatisticsClients:
    """Holds what stays on the devices.

    group [n]: int64, the group of each client. taste [n, r]: the taste vectors. fitted [n]: bool,
    whether the taste has been fitted to the released popularity, which happens once.
    """

    group: Tensor
    taste: Tensor
    fitted: Tensor
