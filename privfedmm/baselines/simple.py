"""Lines that need no model: random, popularity, and the public features of a user's own items."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from privfedmm.baselines.matrix import matrix
from privfedmm.data.types import Rows
from privfedmm.evaluation import Scorer
from privfedmm.features import Present, unit_rows
from privfedmm.streams import uniform


def random_scores(num_items: int, seed: int) -> Scorer:
    """Uniform scores, the same for a user in any block."""

    def score(users: np.ndarray) -> np.ndarray:
        return uniform(seed, "random baseline", 0, users, num_items).astype(np.float32)

    return score


def item_counts(train: Rows, num_items: int) -> np.ndarray:
    """Training interactions of each item [items]."""
    return np.bincount(train.indices, minlength=num_items).astype(np.float32)


def popularity(train: Rows, num_items: int) -> Scorer:
    """Training interactions of the item, the same for all users."""
    counts = item_counts(train, num_items)

    def score(users: np.ndarray) -> np.ndarray:
        return np.broadcast_to(counts, (len(users), num_items))

    return score


def public_features(
    train: Rows, features: Mapping[str, np.ndarray], present: Present | None = None
) -> Scorer:
    """Cosine of an item with the mean of the user's items, standardised a user, mean over
    modalities. Everything happens on the device. present: as in privfedmm.features. Raises
    ValueError without features."""
    if not features:
        raise ValueError("public_features needs at least one modality")
    unit = {n: unit_rows(matrix, (present or {}).get(n)) for n, matrix in features.items()}

    def score(users: np.ndarray) -> np.ndarray:
        return np.asarray(
            sum(_profile_cosine(train, users, matrix) for matrix in unit.values()) / len(unit),
            dtype=np.float32,
        )

    return score


def popularity_profile(
    train: Rows,
    num_items: int,
    features: Mapping[str, np.ndarray],
    weight: float,
    present: Present | None = None,
) -> Scorer:
    """log(1 + count) + weight x the profile score: popularity tilted on the device.

    The profile reads text where there is text, else every modality.
    """
    log_counts = np.log1p(item_counts(train, num_items))
    profile = public_features(
        train, {"text": features["text"]} if "text" in features else features, present
    )

    def score(users: np.ndarray) -> np.ndarray:
        return log_counts + weight * profile(users)

    return score


def _profile_cosine(train: Rows, users: np.ndarray, unit: np.ndarray) -> np.ndarray:
    total = matrix(train, len(unit))[users] @ unit
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
    cosine = total @ unit.T
    spread = np.maximum(cosine.std(1, keepdims=True), 1e-9)
    return np.asarray((cosine - cosine.mean(1, keepdims=True)) / spread)
