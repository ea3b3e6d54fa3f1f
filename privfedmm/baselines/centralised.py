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

from privfedmm.baselines.baseline import Baseline
from privfedmm.baselines.matrix import matrix
from privfedmm.data.types import Dataset, Rows
from privfedmm.evaluation import Scorer

EASE_RIDGES = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0)
SLIT_HALF_LIVES, SLIT_RIDGES = (2.0, 4.0, 8.0, 16.0), (300.0, 1000.0, 3000.0)
_FORGOTTEN = 5  # half-lives after which an item no longer counts
IALS_GRID = tuple((64, reg) for reg in (0.3, 1.0, 3.0, 10.0))


def ease(train: Rows, num_items: int, ridge: float) -> Scorer:
    """Score by X B with item-to-item weights B = I - P diag(1 / diag P), P = (X'X + ridge I)^-1.

    X [users, items] holds the training interactions as ones. Steck 2019, equation 8.
    """
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
    """Score by item-to-item transitions B = (S'S + ridge I)^-1 S'T, where T holds the items and S
    those before each; yields one scorer a ridge.

    It is SLIT of Choi et al. 2021, with one item as target.

    age: for each training interaction, how many later ones its user has. Rows of S halve every
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
    """Factorise by alternating least squares of the library `implicit`.

    The loss is that of Hu et al. 2008, equation 3.

    An interaction counts 2, anything else 1. Raises ValueError where the library is not installed.
    """
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


def _ridges(data: Dataset, seed: int) -> Iterator[tuple[str, Scorer]]:
    for ridge in EASE_RIDGES:
        yield f"ridge {ridge:g}", ease(data.train, data.num_items, ridge)


def _transitions(data: Dataset, seed: int) -> Iterator[tuple[str, Scorer]]:
    if data.train_age is None:
        raise ValueError(f"the SLIT baseline needs times, which {data.name} lacks")
    for half_life in SLIT_HALF_LIVES:
        scores = slit(data.train, data.num_items, data.train_age, half_life, SLIT_RIDGES)
        for ridge, score in zip(SLIT_RIDGES, scores, strict=True):
            yield f"half-life {half_life:g}, ridge {ridge:g}", score


def _factorised(data: Dataset, seed: int) -> Iterator[tuple[str, Scorer]]:
    for factors, regularisation in IALS_GRID:
        yield (f"factors {factors}, regularisation {regularisation:g}",
               ials(data.train, data.num_items, factors, regularisation, seed))


EASE = Baseline(
    name="ease",
    summary="item-to-item ridge regression without self-similarity, in closed form",
    reference="Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, equation 8",
    sees="a server that holds every interaction",
    candidates=_ridges,
)

SLIT = Baseline(
    name="slit",
    summary="ridge regression of the next item on those before it, in closed form",
    reference="Choi et al., Session-aware Linear Item-Item Models for Session-based "
              "Recommendation, WWW 2021, the model SLIT with one item as target",
    sees="a server that holds every interaction and its time",
    candidates=_transitions,
    needs_times=True,
)

IALS = Baseline(
    name="ials",
    summary="matrix factorisation of implicit feedback by alternating least squares",
    reference="Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, "
              "ICDM 2008, equations 3 to 5",
    sees="a server that holds every interaction",
    candidates=_factorised,
)
