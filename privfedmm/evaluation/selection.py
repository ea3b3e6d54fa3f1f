"""What figures decide: which round is the best, and whether one model is better than another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def paired_interval(
    ours: np.ndarray, theirs: np.ndarray, seed: int, draws: int = 10_000
) -> tuple[float, float, float]:
    """Return the mean difference of a per-user metric and its 95% interval; arrays [seeds, users].

    Users and seeds are both resampled (percentile bootstrap): a gain must hold for other users and
    for other seeds.
    """
    difference = ours - theirs
    rng = np.random.default_rng(seed)
    seeds, users = difference.shape
    means = np.empty(draws)
    for draw in range(draws):
        rows = rng.integers(0, seeds, seeds)
        weights = np.bincount(rng.integers(0, users, users), minlength=users)
        means[draw] = difference[rows].mean(0) @ weights / users
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


@dataclass
class BestRound:
    """This is the best validation value so far, and how many evaluations have passed since.

    patience: the evaluations without a better value after which training stops, 0 for never. value:
    the best value. round: the round that had it. waited: the evaluations since.
    """

    patience: int
    value: float = -np.inf
    round: int = -1
    waited: int = 0

    def better(self, value: float, round_: int) -> bool:
        """Note the value of a round. Return whether it is the best yet (ties keep the earlier
        round)."""
        if value > self.value:
            self.value, self.round, self.waited = value, round_, 0
            return True
        self.waited += 1
        return False

    @property
    def stop(self) -> bool:
        """Return whether patience has run out; patience 0 never stops."""
        return 0 < self.patience <= self.waited
