"""Metrics of a list's first k, from the places of a user's held-out items.

Throughout, a user has T held-out items, relevant all alike, at the places p_1 < ... < p_T of the
list, from 1. Every function takes places and k, and returns one value a user [users] float64,
which is 0 for a user without held-out items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from privfedmm.evaluation.places import Places


@dataclass(frozen=True)
class Metric:
    """A metric is a name, a function of places and k, and where its formula is from.

    summary: the formula in words. reference: the paper.
    """

    name: str
    of: Callable[[Places, int], np.ndarray]
    summary: str
    reference: str


def _found(places: Places, k: int) -> np.ndarray:
    """How many of a user's items are among the first k [users]."""
    return places.sum(np.asarray(places.ranks <= k, dtype=np.float64))


def recall(places: Places, k: int) -> np.ndarray:
    """Return recall: |{j: p_j <= k}| / T.

    With more than k held-out items it cannot reach 1 (some programs divide by min(k, T)).
    Reference: Manning, Raghavan and Schuetze 2008, section 8.4.
    """
    return _found(places, k) / np.maximum(places.counts, 1)


def precision(places: Places, k: int) -> np.ndarray:
    """Return precision: |{j: p_j <= k}| / k, also where the list is shorter than k.

    Reference: Manning, Raghavan and Schuetze 2008, section 8.4.
    """
    return _found(places, k) / k


def hr(places: Places, k: int) -> np.ndarray:
    """Return the hit ratio: 1 where p_1 <= k, else 0.

    Reference: Deshpande and Karypis 2004, section 5.1.
    """
    return np.asarray(_found(places, k) > 0, dtype=np.float64)


def ndcg(places: Places, k: int) -> np.ndarray:
    """Return the normalised discounted cumulated gain, of gain 1 and discount 1 / log2(p + 1).

    The sum of 1 / log2(p_j + 1) over p_j <= k, by the same sum of the best list, whose first
    min(k, T) places are held-out items. Reference: Jaervelin and Kekaelaeinen 2002, with the
    discount of Burges et al. 2005.
    """
    within = np.asarray(places.ranks <= k, dtype=np.float64)
    gained = places.sum(within / np.log2(places.ranks + 1.0))
    longest = int(min(k, places.counts.max(initial=1)))
    best = np.cumsum(1.0 / np.log2(np.arange(1, longest + 1) + 1.0))
    return gained / best[np.clip(places.counts, 1, longest) - 1]


def average_precision(places: Places, k: int) -> np.ndarray:
    """Return average precision: the sum of j / p_j over p_j <= k, by min(k, T).

    j / p_j is the precision of the list that ends with the j-th held-out item. Divided by
    min(k, T) and not by T, a list of k held-out items has 1; its mean over users is MAP.
    Reference: Manning, Raghavan and Schuetze 2008, equation 8.8, cut off at k.
    """
    within = np.asarray(places.ranks <= k, dtype=np.float64)
    return (places.sum(within * places.nth / places.ranks)
            / np.clip(places.counts, 1, k))


def reciprocal_rank(places: Places, k: int) -> np.ndarray:
    """Return the reciprocal rank: 1 / p_1 where p_1 <= k, else 0; its mean over users is MRR.

    Reference: Voorhees 1999.
    """
    first = (places.nth == 1) & (places.ranks <= k)
    return places.sum(first / np.maximum(places.ranks, 1))


HR = Metric("hr", hr, "1 where a held-out item is among the first k", "Deshpande and Karypis 2004")
NDCG = Metric("ndcg", ndcg, "gain with discount 1 / log2(place + 1), by that of the best list",
              "Järvelin and Kekäläinen 2002")
RECALL = Metric("recall", recall, "share of the held-out items that are among the first k",
                "Manning, Raghavan and Schütze 2008")
PRECISION = Metric("precision", precision, "share of the first k that are held-out items",
                   "Manning, Raghavan and Schütze 2008")
MAP = Metric("map", average_precision,
             "precision at each held-out item among the first k, summed, by min(k, held-out items)",
             "Manning, Raghavan and Schütze 2008")
MRR = Metric("mrr", reciprocal_rank, "1 / place of the first held-out item, 0 beyond k",
             "Voorhees 1999")
