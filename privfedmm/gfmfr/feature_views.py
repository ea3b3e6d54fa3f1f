"""The forms in which the algorithm needs the public features, each computed once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from privfedmm.base.features import (
    Neighbours,
    Present,
    joined,
    joined_present,
    principal,
    space_of,
    unit_rows,
    with_masks,
)
from privfedmm.gfmfr.settings import AlgorithmSettings


class FeatureViews:
    """Provides views of features, modality -> [items, F], which are empty where a run uses none.

    joined [items, sum F]: all modalities side by side. profile [items, <= rank]: its principal
    components, in which user profiles are compared. Both are None without features. present:
    modality -> [items] bool, which items have it; a modality without an entry is there for all.
    cold [items] bool: the items that are in no client's training, public like the features; None
    where there are none.
    """

    def __init__(
        self,
        features: Mapping[str, np.ndarray],
        num_items: int,
        settings: AlgorithmSettings,
        present: Present | None = None,
        cold: np.ndarray | None = None,
    ) -> None:
        self.num_items = num_items
        self.cold = cold
        self._features = dict(features)
        self._present = {n: m for n, m in (present or {}).items() if n in features}
        self._joined_present = joined_present(features, self._present)
        self._server = settings.server
        self._rank = settings.fusion.feature_rank
        self.joined: Tensor | None = None
        self.profile: Tensor | None = None
        if features:
            self.joined = torch.from_numpy(joined(
                features, settings.server.image_weight, self._present))
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
        """Return the features as they were given, and which items have them."""
        return with_masks(self._features, self._present)

    def principal(self, rank: int) -> Tensor:
        """Return the first principal components of all modalities together: [items, <= rank]."""
        assert self.joined is not None
        return torch.from_numpy(principal(self.joined.numpy(), rank, self._joined_present))

    def space(self, rank: int, image_weight: float) -> Tensor:
        """Return the leading components [items, <= rank] under an image weight of their own."""
        assert self.joined is not None
        return space_of(self._features, rank, image_weight, self._present)

    def subspace(self, rank: int) -> Tensor:
        """Return a constant and principal components, orthonormal: [items, <= 1 + rank].

        Raises ValueError without features.
        """
        if self.joined is None:
            raise ValueError("dp.subspace_rank: a public subspace needs item features; set 0")
        columns = torch.cat([torch.ones(self.num_items, 1), self.principal(rank)], 1)
        return torch.linalg.qr(columns).Q

    def fusion_inputs(self) -> dict[str, Tensor]:
        """Return what the fusion network reads: raw features, or each modality's scaled components.
        """
        if not self._rank:
            return {n: torch.from_numpy(x.astype(np.float32)) for n, x in self._features.items()}
        out = {}
        for name, matrix in self._features.items():
            mask = self._present.get(name)
            part = principal(unit_rows(matrix, mask), self._rank, mask)
            spread = part.std() if mask is None else part[mask].std()
            out[name] = torch.from_numpy(part / (spread or 1.0))  # 0: one item alone has it
        return out

    def fusion_present(self) -> dict[str, Tensor]:
        """Return the masks of `fusion_inputs`: modality -> [items] bool, where any item is missing.
        """
        return {name: torch.from_numpy(mask) for name, mask in self._present.items()}

    def modality_scores(self, profile: Tensor) -> dict[str, Tensor]:
        """Split the product of client profiles with every item's profile row by modality.

        profile [m, D] -> modality -> [m, items]; their sum is profile @ self.profile.T. With the
        components f = X V of the centred features X, modality m's share of an item is X_m V_m.
        """
        assert self.joined is not None and self.profile is not None
        wide, components = self.joined.double(), self.profile.double()
        size = components.square().sum(0)
        kept = size > 1e-9 * size.max()
        here = None if self._joined_present is None else torch.from_numpy(self._joined_present)
        seen = torch.ones_like(wide) if here is None else here.double()
        centred = (wide - (wide * seen).sum(0) / seen.sum(0).clamp(min=1)) * seen
        loading = centred.T @ components / torch.where(kept, size, torch.inf)
        out, start = {}, 0
        for name, matrix in sorted(self._features.items()):
            part = slice(start, start + matrix.shape[1])
            share = (centred[:, part] @ loading[part]).float()
            out[name] = profile @ share.T
            start = part.stop
        return out
