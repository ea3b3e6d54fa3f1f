"""Lines that need neither a model nor content: random scores and popularity."""

from __future__ import annotations

import numpy as np

from privfedmm.base.streams import uniform
from privfedmm.baselines.baseline import Baseline
from privfedmm.data.types import Rows
from privfedmm.evaluation import Scorer


def random_scores(num_items: int, seed: int) -> Scorer:
    """Score uniformly on [0, 1), the same for a user in any block."""

    def score(users: np.ndarray) -> np.ndarray:
        return uniform(seed, "random baseline", 0, users, num_items).astype(np.float32)

    return score


def item_counts(train: Rows, num_items: int) -> np.ndarray:
    """Count the training interactions of each item: [items] float32."""
    return np.bincount(train.indices, minlength=num_items).astype(np.float32)


def popularity(train: Rows, num_items: int) -> Scorer:
    """Score an item by its number of training interactions, the same for all users."""
    counts = item_counts(train, num_items)

    def score(users: np.ndarray) -> np.ndarray:
        return np.broadcast_to(counts, (len(users), num_items))

    return score


RANDOM = Baseline(
    name="random",
    summary="uniform scores: what chance alone gives",
    reference="none; scores are drawn from a named stream of the seed",
    sees="nothing",
    trusted_with="nothing",
    candidates=lambda data, seed: [("", random_scores(data.num_items, seed))],
)

POPULARITY = Baseline(
    name="popularity",
    summary="the number of training interactions of an item, the same for all users",
    reference="Cremonesi et al., Performance of Recommender Algorithms on Top-N Recommendation "
              "Tasks, RecSys 2010 (TopPop)",
    sees="item counts in the clear",
    trusted_with="sums",
    candidates=lambda data, seed: [("", popularity(data.train, data.num_items))],
)
