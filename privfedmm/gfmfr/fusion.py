"""The fusion network and its training: (group vector, text, image) -> a group's item row.

Each input goes through one linear map to `dim`; a registered module (privfedmm.fusions) then brings
the maps together.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from privfedmm.fusions import FUSIONS
from privfedmm.gfmfr.settings import FusionSettings

_SHORT = {"text": "txt", "image": "vis"}


class FusionMaps(nn.Module):
    """Applies the linear maps and the module: [groups, items or 1, F] -> [groups, items, dim].

    masked: the inputs that some items lack. For those items a learnt vector of the input, at first
    0, stands in place of the linear map, so that a row of nothing is not taken for a picture.
    """

    def __init__(
        self, module: str, sizes: Mapping[str, int], dim: int, masked: Collection[str] = ()
    ) -> None:
        super().__init__()
        names = list(sizes)
        for name, size in sizes.items():
            self.add_module(f"{name}_affine", nn.Linear(size, dim))
        for name in masked:
            self.register_parameter(f"{name}_absent", nn.Parameter(torch.zeros(dim)))
        self.fusion = FUSIONS.get(module).build(names, dim)

    def forward(
        self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return the fused rows [groups, items, dim].

        present: input name -> [items] bool for the masked inputs.
        """
        mapped = {n: self.get_submodule(f"{n}_affine")(x) for n, x in inputs.items()}
        for name, mask in (present or {}).items():
            absent = self.get_parameter(f"{name}_absent")
            mapped[name] = torch.where(mask[:, None], mapped[name], absent)
        shapes = torch.broadcast_shapes(*(x.shape for x in mapped.values()))
        return self.fusion({n: x.expand(shapes) for n, x in mapped.items()})


class FusionNetwork(nn.Module):
    """Fuses one learnt vector for each group with the public item features.

    features: modality -> [items, F]. The features stay outside the parameters. present: modality ->
    [items] bool for those that some items lack.
    """

    def __init__(
        self,
        module: str,
        groups: int,
        features: Mapping[str, Tensor],
        group_dim: int,
        dim: int,
        present: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.embedding_group = nn.Embedding(groups, group_dim)
        sizes = {"id": group_dim}
        sizes.update({_SHORT.get(n, n): int(x.shape[1]) for n, x in features.items()})
        self._present = {_SHORT.get(n, n): mask for n, mask in (present or {}).items()}
        self.fusion = FusionMaps(module, sizes, dim, self._present)
        self._features = {_SHORT.get(n, n): x[None] for n, x in features.items()}

    def forward(self) -> Tensor:
        """Return the fused table of every group, [groups, items, dim].

        It is [groups, 1, dim] without a feature.
        """
        inputs = {"id": self.embedding_group.weight[:, None, :], **self._features}
        return self.fusion(inputs, self._present)


class Fusion:
    """Trains the fusion network for a few epochs a round, warm from the last round.

    present: the same as for the network. cold [items] bool: the items whose target rows say
    nothing, for no client has trained them; they are fused, and take no part in the loss.
    """

    def __init__(
        self,
        settings: FusionSettings,
        groups: int,
        features: Mapping[str, Tensor],
        group_dim: int,
        dim: int,
        seed: int,
        present: Mapping[str, Tensor] | None = None,
        cold: Tensor | None = None,
    ) -> None:
        self._warm = None if cold is None else ~cold
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = FusionNetwork(
                settings.module, groups, features, group_dim, dim, present)
        self._epochs = settings.epochs
        kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.SGD
        self.optimiser = kind(
            self.network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )

    def fit(self, target: Tensor) -> tuple[Tensor, float]:
        """Fit the network by full-batch epochs of MSE to target [groups, items, dim].

        Returns the fused tables after training, without gradient, and the last loss.
        """
        loss = torch.zeros(())
        for _ in range(self._epochs):
            self.optimiser.zero_grad()
            fused, wanted = self.network().expand_as(target), target
            if self._warm is not None:
                fused, wanted = fused[:, self._warm], target[:, self._warm]
            loss = functional.mse_loss(fused, wanted)
            loss.backward()
            self.optimiser.step()
        with torch.no_grad():
            return self.network().expand_as(target).clone(), float(loss.detach())

    def tables(self) -> Tensor:
        """Return the fused tables as they are now, [groups, items, dim], without gradient."""
        with torch.no_grad():
            return self.network()

    def state_dict(self) -> dict[str, Any]:
        """Return copies of parameters and optimiser state, because training goes on in place."""
        return copy.deepcopy(
            {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
