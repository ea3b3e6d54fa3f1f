"""Public item features in the forms that the statistics methods read; no interaction enters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from privfedmm.base.features import (
    Present,
    joined,
    joined_present,
    principal,
    space_of,
    unit_rows,
    with_masks,
)
from privfedmm.statistics.settings import StatisticsSettings


class PublicItems:
    """Holds the public features in the forms that the statistics methods read.

    raw: the features and masks. modalities: name -> unit rows [items, F]. tilt_features [items, r]:
    the leading components of every modality side by side, centred. fusion_features [items, q]: the
    components of all modalities together, with rows of mean squared length 1. Both are [items, 0]
    without features. widths: how many columns of tilt_features each modality has. present: modality
    -> [items] bool, where some items lack it.
    """

    def __init__(
        self,
        features: Mapping[str, np.ndarray],
        num_items: int,
        settings: StatisticsSettings,
        present: Present | None = None,
    ) -> None:
        self.num_items = num_items
        self._features, self._settings = features, settings
        masks = {n: m for n, m in (present or {}).items() if n in features}
        self._masks = masks
        self.raw = with_masks(features, masks)
        self.modalities = {
            n: torch.from_numpy(unit_rows(x, masks.get(n))) for n, x in sorted(features.items())}
        parts = [
            principal(unit.numpy(), settings.feature_rank, masks.get(name))
            * (settings.image_weight if name == "image" else 1.0)
            for name, unit in self.modalities.items()
        ]
        self.widths = {n: p.shape[1] for n, p in zip(self.modalities, parts, strict=True)}
        self.tilt_features = self.fusion_features = torch.zeros(num_items, 0)
        if parts:
            self.tilt_features = torch.from_numpy(np.concatenate(parts, axis=1))
            rows = principal(joined(features, settings.image_weight, masks), settings.fusion_rank,
                             joined_present(features, masks))
            self.fusion_features = torch.from_numpy(rows / np.sqrt((rows**2).sum(1).mean()))

    def association_features(self, rank: int) -> torch.Tensor:
        """Return the leading components of all modalities together [items, <= rank]."""
        return space_of(self._features, rank, self._settings.association_image_weight, self._masks)
