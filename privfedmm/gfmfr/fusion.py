"""The five fusion modules and their training: (group vector, text, image) -> a group's item row.

Each input goes through one linear map to `dim`; a module then brings the maps together. Names of
parameters are those of the reference implementation, and so are two of its habits that a reader
would not expect: `gate` passes on the gates alone, and `moe` weighs its experts once for all rows,
by a softmax of the mean softmax.
`attention` attends over the rows of one group, not over the inputs of one row.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from privfedmm.settings import FusionSettings

_SHORT = {"text": "txt", "image": "vis"}


def _mlp(inputs: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs * dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))


class SumFusion(nn.Module):
    """Adds the inputs."""

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return torch.stack(list(inputs.values())).sum(0)


class MlpFusion(nn.Module):
    """Two layers on the inputs side by side."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        self.mlp = _mlp(len(names), dim)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.mlp(torch.cat(list(inputs.values()), dim=-1))


class GateFusion(nn.Module):
    """One linear map on the sigmoid gates of the inputs."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        for name in names:
            gate = nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid())
            self.add_module(f"{name}_gate", gate)
        self.fusion = nn.Linear(len(names) * dim, dim)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        gates = [self.get_submodule(f"{name}_gate")(value) for name, value in inputs.items()]
        return self.fusion(torch.cat(gates, dim=-1))


class _Router(nn.Module):
    def __init__(self, inputs: int, dim: int, experts: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs * dim, dim)
        self.fc2 = nn.Linear(dim, experts)

    def forward(self, outputs: Tensor) -> Tensor:
        rows = functional.softmax(self.fc2(torch.relu(self.fc1(outputs))), dim=-1)
        return functional.softmax(rows.flatten(0, -2).mean(0), dim=0)


class MoeFusion(nn.Module):
    """The three modules above, weighed by a router that reads their outputs."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        self.router = _Router(3, dim, 3)
        self.experts = nn.ModuleList([SumFusion(), MlpFusion(names, dim), GateFusion(names, dim)])

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        outputs = [expert(inputs) for expert in self.experts]
        weight = self.router(torch.cat(outputs, dim=-1))
        return torch.stack(outputs, dim=-1) @ weight


class AttentionFusion(nn.Module):
    """Self-attention of one head over rows [..., rows, dim], then a linear map."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(len(names) * dim, 1, batch_first=True)
        self.fc_out = nn.Linear(len(names) * dim, dim)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        joined = torch.cat(list(inputs.values()), dim=-1)
        attended, _ = self.attn(joined, joined, joined, need_weights=False)
        return self.fc_out(attended)


class FusionMaps(nn.Module):
    """The linear maps and the module: inputs [groups, items or 1, F] -> [groups, items, dim].

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
        self.fusion = _module(module, names, dim)

    def forward(
        self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """present: input name -> [items] bool for the masked inputs."""
        mapped = {n: self.get_submodule(f"{n}_affine")(x) for n, x in inputs.items()}
        for name, mask in (present or {}).items():
            absent = self.get_parameter(f"{name}_absent")
            mapped[name] = torch.where(mask[:, None], mapped[name], absent)
        shapes = torch.broadcast_shapes(*(x.shape for x in mapped.values()))
        return self.fusion({n: x.expand(shapes) for n, x in mapped.items()})


def _module(module: str, names: list[str], dim: int) -> nn.Module:
    if module == "sum":
        return SumFusion()
    kinds: dict[str, type[Any]] = {
        "mlp": MlpFusion, "gate": GateFusion, "moe": MoeFusion, "attention": AttentionFusion,
    }
    if module not in kinds:
        raise ValueError(f"unknown fusion module {module!r}; known are sum, {', '.join(kinds)}")
    return kinds[module](names, dim)


class FusionNetwork(nn.Module):
    """One learnt vector a group beside the public item features.

    features: modality -> [items, F]. The features stay outside the parameters. present: modality
    -> [items] bool for those that some items lack.
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
        """The fused table of every group, [groups, items, dim] ([groups, 1, dim] if no feature)."""
        inputs = {"id": self.embedding_group.weight[:, None, :], **self._features}
        return self.fusion(inputs, self._present)


class Fusion:
    """The fusion network with its optimiser: trained a few epochs a round, warm from the last.

    present: as for the network. cold [items] bool: items whose target rows say nothing, for no
    client has trained them; they are fused, and take no part in the loss.
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
        """Full-batch epochs of MSE to target [groups, items, dim]; the fused tables and last loss.

        Returns the tables after training, without gradient.
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
        """The fused tables as they are now, [groups, items, dim], without gradient."""
        with torch.no_grad():
            return self.network()

    def state_dict(self) -> dict[str, Any]:
        """Copies of parameters and optimiser state, for a checkpoint: training goes on in place."""
        return copy.deepcopy(
            {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
