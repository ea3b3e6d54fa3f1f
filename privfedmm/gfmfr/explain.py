"""Which modality carried the part of a score that a device computes from public features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privfedmm.data.types import Rows
from privfedmm.devices.profiles import profile
from privfedmm.gfmfr.feature_views import FeatureViews


def unit(rows: Tensor) -> Tensor:
    """Scale each of rows [n, width] to norm 1; rows of zeros stay 0."""
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-9)


def score_parts(
    scores: Tensor, train: Rows, ids: np.ndarray, views: FeatureViews, weight: float
) -> dict[str, Tensor]:
    """Split scores [m, items] into each modality's profile part and the trained rest."""
    if not weight or views.profile is None:
        return {"trained tables": scores}
    parts = {f"{n} profile": weight * p for n, p in profile_parts(train, ids, views).items()}
    return {"trained tables": scores - torch.stack(list(parts.values())).sum(0), **parts}


def profile_parts(train: Rows, ids: np.ndarray, views: FeatureViews) -> dict[str, Tensor]:
    """Return each modality's share of the standardised profile cosine: name -> [m, items].

    The cosine is linear in the item's features once its length is fixed, so the shares add up to it
    exactly; each is centred over items and divided by the spread of the whole.
    """
    assert views.profile is not None
    length = views.profile.norm(dim=1).clamp(min=1e-9)
    who = profile(train, ids, unit(views.profile))
    raw = {name: part / length for name, part in views.modality_scores(who).items()}
    total = who @ unit(views.profile).T
    spread = total.std(dim=1, keepdim=True).clamp(min=1e-9)
    return {n: (part - part.mean(dim=1, keepdim=True)) / spread for n, part in raw.items()}
