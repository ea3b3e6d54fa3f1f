"""Rank-biased precision as a metric (Moffat and Zobel, TOIS 2008, equation 4)."""

import numpy as np

from privfedmm.evaluation import Metric, Places

PATIENCE = 0.8  # the chance that a reader goes on to the next item


def rank_biased(places: Places, k: int) -> np.ndarray:
    """Return (1 - q) times the sum of q^(p - 1) over places p <= k: [users] float64."""
    within = np.asarray(places.ranks <= k, dtype=np.float64)
    return (1 - PATIENCE) * places.sum(within * PATIENCE ** (places.ranks - 1.0))


RBP = Metric(
    name="rbp", of=rank_biased, summary="what a reader finds who goes on with chance 0.8",
    reference="Moffat and Zobel 2008, equation 4")
