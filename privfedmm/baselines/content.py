"""Lines that read the public features of a user's own items, on the device alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from privfedmm.base.features import Present, unit_rows
from privfedmm.baselines.baseline import Baseline, Candidates
from privfedmm.baselines.matrix import matrix
from privfedmm.baselines.simple import item_counts
from privfedmm.data.item_columns import METADATA
from privfedmm.data.types import Dataset, Rows
from privfedmm.evaluation import Scorer

_IN_WORDS = ("text", METADATA)  # beside them pictures add noise to a profile
_PROFILE_WEIGHTS = (0.1, 0.3, 1.0)
_ROCCHIO = ("a user's profile is the mean of the items' features, as in Pazzani and Billsus, "
            "Content-Based Recommendation Systems, 2007, without Rocchio's negative part")


def public_features(
    train: Rows, features: Mapping[str, np.ndarray], present: Present | None = None
) -> Scorer:
    """Score an item by its cosine with the mean of the user's items, standardised for each
    user and averaged over modalities.

    Everything happens on the device. features: modality -> [items, F]; present: as in
    `privfedmm.base.features`. Raises ValueError without features.
    """
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
    """Score an item by log(1 + count) + weight x its profile score, all on the device.

    The profile reads text and metadata, what of them there is, else every modality; arguments as
    for `public_features`.
    """
    log_counts = np.log1p(item_counts(train, num_items))
    told = {name: x for name, x in features.items() if name in _IN_WORDS}
    profile = public_features(train, told or features, present)

    def score(users: np.ndarray) -> np.ndarray:
        return log_counts + weight * profile(users)

    return score


def _profile_cosine(train: Rows, users: np.ndarray, unit: np.ndarray) -> np.ndarray:
    total = matrix(train, len(unit))[users] @ unit
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
    cosine = total @ unit.T
    spread = np.maximum(cosine.std(1, keepdims=True), 1e-9)
    return np.asarray((cosine - cosine.mean(1, keepdims=True)) / spread)


def _of_modalities(*names: str) -> Candidates:
    """Candidates that read these modalities alone; without names, all that there are."""
    def candidates(data: Dataset, seed: int) -> Iterable[tuple[str, Scorer]]:
        chosen = {n: x for n, x in data.features.items() if not names or n in names}
        yield "", public_features(data.train, chosen, data.present)

    return candidates


def _tilted(data: Dataset, seed: int) -> Iterable[tuple[str, Scorer]]:
    for weight in _PROFILE_WEIGHTS:
        yield f"weight {weight}", popularity_profile(
            data.train, data.num_items, data.features, weight, data.present)


PUBLIC_FEATURES = Baseline(
    name="public_features",
    summary="cosine of an item's features with the mean of the user's items, over all modalities",
    reference=_ROCCHIO,
    sees="nothing leaves the device",
    trusted_with="nothing",
    candidates=_of_modalities(),
    needs_features=True,
)

PUBLIC_TEXT = Baseline(
    name="public_text",
    summary="public_features of the text alone",
    reference=_ROCCHIO,
    sees="nothing leaves the device",
    trusted_with="nothing",
    candidates=_of_modalities("text"),
    needs_features=True,
    needs_modalities=("text",),
)

PUBLIC_IMAGE = Baseline(
    name="public_image",
    summary="public_features of the pictures alone",
    reference=_ROCCHIO,
    sees="nothing leaves the device",
    trusted_with="nothing",
    candidates=_of_modalities("image"),
    needs_features=True,
    needs_modalities=("image",),
)

POPULARITY_PROFILE = Baseline(
    name="popularity_profile",
    summary="log popularity plus the weighted cosine of public_features",
    reference="this project; " + _ROCCHIO,
    sees="item counts in the clear",
    trusted_with="sums",
    candidates=_tilted,
    needs_features=True,
)
