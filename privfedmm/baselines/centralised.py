"""Centralised upper lines: a server that holds every interaction.

EASE (Steck 2019, equation 8) is a closed form in scipy and always there; iALS comes from the
library `implicit`, an optional extra.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from privfedmm.baselines.matrix import matrix
from privfedmm.data.types import Rows
from privfedmm.evaluation import Scorer

EASE_RIDGES = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0)
IALS_GRID = tuple((64, reg) for reg in (0.3, 1.0, 3.0, 10.0))


def ease(train: Rows, num_items: int, ridge: float) -> Scorer:
    """Item-to-item weights B = I - P diag(1 / diag P), P = (X'X + ridge I)^-1; scores X B."""
    x = matrix(train, num_items)
    gram = np.asarray((x.T @ x).todense(), dtype=np.float64)
    gram[np.diag_indices(num_items)] += ridge
    inverse = linalg.inv(gram, overwrite_a=True, check_finite=False)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices(num_items)] = 0
    weights = weights.astype(np.float32)

    def score(users: np.ndarray) -> np.ndarray:
        return np.asarray(x[users] @ weights)

    return score


def ials(train: Rows, num_items: int, factors: int, regularisation: float, seed: int) -> Scorer:
    """Implicit ALS by the library `implicit`. Raises ValueError where it is not installed."""
    try:
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise ValueError("the iALS baseline needs the package implicit: "
                         "pip install 'privfedmm[baselines]'") from error
    x = matrix(train, num_items)
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=factors, regularization=regularisation, alpha=1.0, iterations=15,
            num_threads=1, random_state=seed, use_gpu=False,
        )
        model.fit(x * 2.0, show_progress=False)
    users_, items_ = np.asarray(model.user_factors), np.asarray(model.item_factors)

    def score(users: np.ndarray) -> np.ndarray:
        return np.asarray(users_[users] @ items_.T)

    return score
