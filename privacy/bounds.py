"""Track what is known of one client's joint vector, and the order in which that may change."""

from __future__ import annotations

import math
from dataclasses import dataclass


class ChainError(ValueError):
    """Report steps in an order, or with parameters, from which no guarantee would follow."""


@dataclass(frozen=True)
class Bound:
    """State what is known of one client's joint vector.

    l2: bound on its norm. grid: step of the grid it lies on; 0 for none. noise_stddev: absolute
    standard deviation of the noise that is on it; 0 before the noise step.
    """

    l2: float = math.inf
    grid: float = 0.0
    noise_stddev: float = 0.0
