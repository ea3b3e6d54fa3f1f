"""Centralised upper lines: a server that holds every interaction.

EASE (Steck 2019, equation 8) and SLIT (Choi et al. 2021, with one item as target), which reads the
order of interactions, are closed forms in scipy and always there; iALS comes from the library
`implicit`, an optional extra.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from scipy import linalg, sparse

from privfedmm.baselines.matrix import matrix
from privfedmm.data.types import Rows
from privfedmm.evaluation import Scorer

EASE_RIDGES = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0)
SLIT_HALF_LIVES, SLIT_RIDGES = (2.0, 4.0, 8.0, 16.0), (300.0, 1000.0, 3000.0)
_FORGOTTEN = 5  # half-lives after which an item no longer counts
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


def slit(
    train: Rows, num_items: int, age: np.ndarray, half_life: float, ridges: Iterable[float]
) -> Iterator[Scorer]:
    """Item-to-item transitions B = (S'S + ridge I)^-1 S'T: T the items, S those before each; one
    scorer a ridge.

    age: of each training interaction, how many later ones its user has. Rows of S halve every
    `half_life` items; scores are the rows that would come next, times B.
    """
    # Of every item, its row of what came before and the row it adds to: both in order of time.
    order = train.oldest_first(age)
    items, owner = train.indices[order], train.owner  # places are sorted by user already
    lags = min(math.ceil(_FORGOTTEN * half_life), int(train.counts.max(initial=0)))

    def before(steps: int) -> sparse.csr_matrix:
        """S [interactions, items], where the latest is `steps` back."""
        rows, columns, values = [], [], []
        for lag in range(steps, steps + lags):
            there = np.flatnonzero(owner[lag:] == owner[: len(owner) - lag])
            rows.append(there + lag)
            columns.append(items[there])
            values.append(np.full(len(there), 0.5 ** ((lag - steps) / half_life)))
        return sparse.csr_matrix(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
            shape=(len(items), num_items))

    source = before(1)
    target = sparse.csr_matrix(
        (np.ones(len(items)), (np.arange(len(items)), items)), shape=source.shape)
    gram = np.asarray((source.T @ source).todense())
    cross = np.asarray((source.T @ target).todense())
    # A user's last row, its own item included; users without any have none.
    last = np.full(train.users, -1)
    last[owner] = np.arange(len(owner))
    now = before(0).astype(np.float32)
    for ridge in ridges:
        weights = linalg.solve(
            gram + ridge * np.eye(num_items), cross, assume_a="pos", overwrite_a=True,
            check_finite=False).astype(np.float32)
        yield partial(_next, now, last, weights)


def _next(
    now: sparse.csr_matrix, last: np.ndarray, weights: np.ndarray, users: np.ndarray
) -> np.ndarray:
    rows = last[users]
    return np.where(rows[:, None] < 0, np.float32(0), np.asarray(now[rows] @ weights))


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
