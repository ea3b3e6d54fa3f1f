"""Split a budget between rounds: a round may have more of it, and less noise, than another.

T Gaussian releases with multipliers z_t are one with z^-2 = sum of z_t^-2 (Dong, Roth and Su 2022,
corollary 2), so that a round's part of z^-2 is its part of the budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from privacy.bounds import ChainError
from privacy.transforms import Mechanism, Step, chain


@dataclass(frozen=True)
class Portions:
    """Hold the portion of each round, in units of an even split: their mean is 1.

    weights: one a round; empty: every round has the same, however many there are. A round of
    portion w has the noise multiplier z / sqrt(w), where z is that of an even split. A round beyond
    them stands for one that was lost, and has the portion of the last. Raises ChainError for
    portions that are not positive, or whose mean is not 1.
    """

    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _check(self.weights)
        if self.weights and abs(sum(self.weights) / len(self.weights) - 1) > 1e-9:
            raise ChainError("the portions of the rounds have a mean of 1, got "
                             f"{sum(self.weights) / len(self.weights):g}")

    @classmethod
    def of(cls, shares: Sequence[float]) -> Portions:
        """Return the portions of rounds whose shares of the budget are in these proportions.

        Equal shares are an even split. Raises ChainError for shares that are not positive.
        """
        _check(shares)
        if len(set(shares)) <= 1:
            return cls()
        total = sum(shares)
        return cls(tuple(share * len(shares) / total for share in shares))

    def weight(self, round_: int) -> float:
        """Return the portion of a round."""
        return self.weights[min(round_, len(self.weights) - 1)] if self.weights else 1.0

    def multiplier(self, noise_multiplier: float, round_: int) -> float:
        """Return the noise multiplier of a round, from that of an even split."""
        return noise_multiplier / math.sqrt(self.weight(round_))

    def multipliers(self, noise_multiplier: float, attempts: int) -> list[float]:
        """Return the noise multiplier of every attempt that a budget pays for.

        attempts: those of the rounds, and further ones, each of which may be one more at the round
        with the largest portion.
        """
        most = max(self.weights, default=1.0)
        return [noise_multiplier / math.sqrt(self.weights[t] if t < len(self.weights) else most)
                for t in range(attempts)]

    def mechanism(self, base: Mechanism, round_: int) -> Mechanism:
        """Return the round's mechanism: the chain with the noise of its portion."""
        if not self.weights:
            return base
        noise = base.noise.remade(
            self.multiplier(base.noise.noise_multiplier, round_), base.noise.sensitivity)
        steps: list[Step] = [s for s in (base.project, base.clip, base.quantise) if s is not None]
        return chain([*steps, noise])


def _check(shares: Sequence[float]) -> None:
    if any(not 0 < share < math.inf for share in shares):
        raise ChainError("a round's portion of the budget must be positive, got "
                         f"{', '.join(f'{share:g}' for share in shares)}")


EVEN = Portions()
