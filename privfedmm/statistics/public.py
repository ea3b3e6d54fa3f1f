"""Public item features in the forms that the statistics methods read; no interaction enters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from privfedmm.features import joined, principal, unit_rows
from privfedmm.statistics.settings import StatisticsSettings


class PublicItems:
    """raw: features as given. modalities: name -> unit rows [items, F]. tilt_features [items, r]:
    leading components of every modality side by side, centred. fusion_features [items, q]:
    components of all modalities together, rows of mean squared length 1. Both [items, 0] without
    features."""

    def __init__(
        self, features: Mapping[str, np.ndarray], num_items: int, settings: StatisticsSettings
    ) -> None:
        self.num_items = num_items
        self.raw = dict(features)
        self.modalities = {n: torch.from_numpy(unit_rows(x)) for n, x in sorted(features.items())}
        parts = [
            principal(unit.numpy(), settings.feature_rank)
            * (settings.image_weight if name == "image" else 1.0)
            for name, unit in self.modalities.items()
        ]
        self.tilt_features = self.fusion_features = torch.zeros(num_items, 0)
        if parts:
            self.tilt_features = torch.from_numpy(np.concatenate(parts, axis=1))
            rows = principal(joined(features, settings.image_weight), settings.fusion_rank)
            self.fusion_features = torch.from_numpy(rows / np.sqrt((rows**2).sum(1).mean()))

