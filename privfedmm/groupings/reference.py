"""The grouping `reference`: the server clusters every client's network, as the paper's code."""

from __future__ import annotations

import numpy as np

from privfedmm.groupings.base import ServerPicked
from privfedmm.groupings.entry import GroupingEntry, GroupingTerms
from privfedmm.groupings.settings import GroupSettings


class Clusters:
    """Clusters by PCA, then k-means or spectral clustering, anew each round.

    Groups are named by largest overlap with the round before.
    """

    def __init__(self, terms: GroupingTerms) -> None:
        self._terms = terms

    def labels(self, vectors: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
        """Return the labels [n] of all clients' vectors [n, P], named after the previous ones."""
        found = cluster_parameters(vectors, self._terms.settings, self._terms.seed)
        return found if previous is None else align(previous, found)


def cluster_parameters(vectors: np.ndarray, settings: GroupSettings, seed: int) -> np.ndarray:
    """Return the labels [n] of all clients' parameter vectors [n, P]."""
    # Imported where it is used: a second of CPU that a node would pay for every message.
    from sklearn.cluster import KMeans, SpectralClustering
    from sklearn.decomposition import PCA
    from sklearn.metrics import pairwise_distances
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(vectors)
    if settings.pca_variance:
        keep = settings.pca_variance
        scaled = PCA(n_components=keep if keep < 1 else None).fit_transform(scaled)
    groups = min(settings.groups, len(vectors))
    if settings.clustering == "kmeans":
        return np.asarray(KMeans(groups, n_init=1, random_state=seed).fit_predict(scaled))
    distance = pairwise_distances(scaled)
    bandwidth = float(np.median(distance[distance > 0])) if (distance > 0).any() else 1.0
    affinity = np.exp(-(distance**2) / (2 * bandwidth**2))
    model = SpectralClustering(groups, affinity="precomputed", random_state=seed)
    return np.asarray(model.fit_predict(affinity))


def align(previous: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Rename current labels [n] so that groups overlap most with the previous ones (Hungarian).

    A group without a partner takes the lowest free name.
    """
    from scipy.optimize import linear_sum_assignment

    before, now = np.unique(previous), np.unique(current)
    overlap = np.array([[np.sum((previous == b) & (current == c)) for b in before] for c in now])
    rows, columns = linear_sum_assignment(-overlap)
    names = {int(now[r]): int(before[c]) for r, c in zip(rows, columns, strict=True)}
    free = (g for g in range(len(previous) + len(now)) if g not in set(names.values()))
    for label in now.tolist():
        if label not in names:
            names[label] = next(free)
    return np.array([names[int(label)] for label in current])


def _build(terms: GroupingTerms) -> ServerPicked:
    return Clusters(terms)


REFERENCE = GroupingEntry(
    name="reference",
    summary="the server clusters every client's own network, which it reads in the clear",
    picked_by="server", build=_build, reference="GFMFR, arXiv 2509.19955, and its code")
