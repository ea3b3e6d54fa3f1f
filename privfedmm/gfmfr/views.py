"""The forms in which the algorithm needs the public features, each computed once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from privfedmm.features import Neighbours, joined, principal, unit_rows
from privfedmm.settings import AlgorithmSettings


class FeatureViews:
    """Views of features: modality -> [items, F]; empty where a run uses none.

    joined [items, sum F]: all modalities side by side. profile [items, <= rank]: its principal
    components, in which user profiles are compared. Both None without features.
    """

    def __init__(
        self, features: Mapping[str, np.ndarray], num_items: int, settings: AlgorithmSettings
    ) -> None:
        self.num_items = num_items
        self._features = dict(features)
        self._server = settings.server
        self._rank = settings.fusion.feature_rank
        self.joined: Tensor | None = None
        self.profile: Tensor | None = None
        if features:
            self.joined = torch.from_numpy(joined(features, settings.server.image_weight))
            self.profile = self.principal(settings.model.profile_rank)
        self.neighbours: Neighbours | None = None
        if self.joined is not None and settings.server.smoothing:
            self.neighbours = Neighbours(
                self.joined.numpy(),
                settings.server.smoothing_neighbours,
                settings.server.smoothing_temperature,
            )

    @property
    def raw(self) -> Mapping[str, np.ndarray]:
        """The features as they were given."""
        return self._features

    def principal(self, rank: int) -> Tensor:
        """First principal components of all modalities together: [items, <= rank]."""
        assert self.joined is not None
        return torch.from_numpy(principal(self.joined.numpy(), rank))

    def subspace(self, rank: int) -> Tensor:
        """A constant and principal components, orthonormal: [items, <= 1 + rank].

        Raises ValueError without features.
        """
        if self.joined is None:
            raise ValueError("dp.subspace_rank: a public subspace needs item features; set 0")
        columns = torch.cat([torch.ones(self.num_items, 1), self.principal(rank)], 1)
        return torch.linalg.qr(columns).Q

    def fusion_inputs(self) -> dict[str, Tensor]:
        """What the fusion network reads: raw features, or scaled components of each modality."""
        if not self._rank:
            return {n: torch.from_numpy(x.astype(np.float32)) for n, x in self._features.items()}
        out = {}
        for name, matrix in self._features.items():
            part = principal(unit_rows(matrix), self._rank)
            out[name] = torch.from_numpy(part / part.std())
        return out
