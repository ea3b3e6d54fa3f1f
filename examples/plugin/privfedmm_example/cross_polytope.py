"""Groups by cross-polytope hashing: one-shot, nothing to learn (Andoni et al., NeurIPS 2015)."""

import numpy as np
import torch
from torch import Tensor

from privfedmm.base.streams import normal
from privfedmm.groupings import GroupingEntry, GroupingTerms
from privfedmm.groupings.centroids import Centroids


class CrossPolytope:
    """Public random directions and their opposites; a user joins the one its signal is closest to.

    Like signals are hashed to one direction, and the directions never move: nobody's signal does
    more than to choose a slot.
    """

    def __init__(self, terms: GroupingTerms) -> None:
        self._groups, self._dim, self._seed = terms.settings.groups, terms.dim, terms.seed

    def start(self) -> Centroids:
        half = np.arange((self._groups + 1) // 2)
        drawn = torch.from_numpy(normal(self._seed, "cross-polytope", 0, half, self._dim))
        drawn = drawn / drawn.norm(dim=1, keepdim=True)
        return Centroids(torch.cat([drawn, -drawn])[: self._groups], torch.zeros(self._dim))

    def pick(self, signals: Tensor, centroids: Centroids) -> Tensor:
        return (signals @ centroids.centres.T).argmax(1)

    def move(self, centroids: Centroids, counts: Tensor, sums: Tensor, least: float) -> Centroids:
        return centroids


CROSS_POLYTOPE = GroupingEntry(
    name="cross_polytope", summary="each client by the nearest of public random directions",
    picked_by="client", build=CrossPolytope,
    reference="Andoni et al., Practical and optimal LSH for angular distance, NeurIPS 2015")
