"""Metrics by name and k, as in ndcg@10, and their means over users."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from privfedmm.base.registry import Registry
from privfedmm.evaluation.formulas import NDCG, Metric, hr
from privfedmm.evaluation.places import Places, Ranks

CUTOFFS = (10, 20, 50)
ALWAYS = ("hr", "ndcg", "recall")  # recorded at every cutoff, asked for or not
SHOWN = ("hr@10", "ndcg@10", "hr@50", "ndcg@50")  # in tables, where nothing else is asked for

METRICS: Registry[Metric] = Registry("metrics", "metric", {
    name: f"privfedmm.evaluation.formulas:{name.upper()}"
    for name in ("hr", "ndcg", "recall", "precision", "map", "mrr")})


class ScoreError(ValueError):
    """The scores cannot be ranked."""


@dataclass(frozen=True)
class Cut:
    """A cut is a metric at one length of the list."""

    metric: Metric
    k: int

    @property
    def name(self) -> str:
        """Return its name, as in ndcg@10."""
        return f"{self.metric.name}@{self.k}"

    def per_user(self, ranks: Ranks) -> np.ndarray:
        """Return the value of each user [users] float64, 0 for one without held-out items."""
        return self.metric.of(Places.of(ranks), self.k)

    def judged(self, ranks: Ranks) -> np.ndarray:
        """Return the value of each user who has held-out items, in the order of users.

        These are the same users where the same rows were split alike, whoever else is in training.
        """
        return self.per_user(ranks)[Places.of(ranks).counts > 0]

    def paired(self, one: Ranks, other: Ranks) -> tuple[np.ndarray, np.ndarray]:
        """Return the values of the users who have held-out items in both, in the order of users.

        Where the two are of other numbers of users, all who have held-out items are the same.
        """
        here, there = (Places.of(ranks).counts > 0 for ranks in (one, other))
        if len(here) != len(there):
            return self.judged(one), self.judged(other)
        both = here & there
        return self.per_user(one)[both], self.per_user(other)[both]

    def mean(self, ranks: Ranks) -> float:
        """Return the mean over the users who have held-out items. Raises ScoreError for none."""
        values = self.judged(ranks)
        if not len(values):
            raise ScoreError("no user has a held-out item to rank")
        return float(values.mean())


def cut_of(text: str) -> Cut:
    """Return the metric that a text names, as in ndcg@10, in letters of either case.

    Raises ValueError, for an unknown name with all there are.
    """
    name, _, cutoff = text.strip().lower().partition("@")
    metric = METRICS.get(name)
    if not re.fullmatch(r"[0-9]{1,9}", cutoff) or int(cutoff) < 1:
        raise ValueError(f"{text}: write the number of items that count behind the name, at least "
                         f"1: {name}@10")
    return Cut(metric, int(cutoff))


def names_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the metrics in their one spelling, each once, in order.

    Raises ValueError as `cut_of` does.
    """
    return tuple(dict.fromkeys(cut_of(text).name for text in texts))


def every_name(more: Iterable[str], cutoffs: tuple[int, ...] = CUTOFFS) -> tuple[str, ...]:
    """Return the names of all metrics that are recorded: hr, ndcg and recall at every cutoff, and
    `more`. Raises ValueError as `cut_of` does."""
    return names_of([*(f"{name}@{cutoff}" for cutoff in cutoffs for name in ALWAYS), *more])


def hits(ranks: Ranks, cutoff: int) -> np.ndarray:
    """Return 1 where a held-out item is among the first `cutoff`, else 0: [users] float, or as
    many dimensions as an array of single ranks has."""
    if isinstance(ranks, Places):
        return hr(ranks, cutoff)
    return np.asarray((ranks >= 1) & (ranks <= cutoff), dtype=np.float64)


def gains(ranks: Ranks, cutoff: int) -> np.ndarray:
    """Return the NDCG of each user; of one held-out item it is 1 / log2(rank + 1) within the
    cutoff. The shape is as for `hits`."""
    if isinstance(ranks, Places):
        return NDCG.of(ranks, cutoff)
    return hits(ranks, cutoff) / np.log2(np.maximum(ranks, 1) + 1.0)


def metrics_from_ranks(
    ranks: Ranks, cutoffs: tuple[int, ...] = CUTOFFS, more: Iterable[str] = ()
) -> dict[str, float]:
    """Return hr@k, ndcg@k and recall@k at every cutoff, and `more` by name, as means over the users
    that have held-out items.

    Raises ScoreError where no user has one, and ValueError for an unknown name.
    """
    places = Places.of(ranks)
    return {name: cut_of(name).mean(places) for name in every_name(more, cutoffs)}
