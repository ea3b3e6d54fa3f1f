"""The grouping `private`: Lloyd's algorithm, one step a round, over what clients pick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from privfedmm.groupings.base import ClientPicked
from privfedmm.groupings.entry import GroupingEntry, GroupingTerms

if TYPE_CHECKING:
    from torch import Tensor

    from privfedmm.groupings.centroids import Centroids


class Lloyd:
    """Has each client take the nearest centroid, and moves it to its members' mean (Lloyd 1982).

    The server needs no more than each group's count and sum of signals.
    """

    def __init__(self, terms: GroupingTerms) -> None:
        self._terms = terms

    def start(self) -> Centroids:
        """Find centroids by k-means of public item features, or draw random directions without any.
        """
        from privfedmm.groupings.centroids import initial_centroids

        t = self._terms
        return initial_centroids(
            t.signals, t.settings.groups, t.dim, t.seed, t.settings.geometry == "angle")

    def pick(self, signals: Tensor, centroids: Centroids) -> Tensor:
        """Return the nearest centre of each signal [m, D]: int64 [m]."""
        from privfedmm.groupings.centroids import assign

        return assign(signals, centroids)

    def move(self, centroids: Centroids, counts: Tensor, sums: Tensor, least: float) -> Centroids:
        """Take one step of Lloyd's algorithm."""
        from privfedmm.groupings.centroids import lloyd_step

        return lloyd_step(centroids, counts, sums, least)


def _build(terms: GroupingTerms) -> ClientPicked:
    return Lloyd(terms)


PRIVATE = GroupingEntry(
    name="private",
    summary="each client picks the nearest broadcast centroid and sends its signal in that slot",
    picked_by="client", build=_build,
    reference="Lloyd, Least squares quantization in PCM, 1982")
