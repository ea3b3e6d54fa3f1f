"""What the server of the statistics methods has released, and what the devices keep."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class StatisticsState:
    """counts [items]: released popularity. associations [r, r]: what goes with what. correction
    [K, items]: what each group adds to scores. Zeros before their rounds. round: rounds played."""

    round: int
    counts: Tensor
    associations: Tensor
    correction: Tensor

    def tensors(self) -> list[Tensor]:
        """All that is broadcast."""
        return [self.counts, self.associations, self.correction]


@dataclass
class StatisticsClients:
    """On the devices: group [n] int64 and taste [n, r]."""

    group: Tensor
    taste: Tensor
