"""The five fusion modules. Names of parameters are those of the reference implementation, and so
are two of its habits that a reader would not expect: `gate` passes on the gates alone, and `moe`
weighs its experts once for all rows, by a softmax of the mean softmax.
`attention` attends over the rows of one group, not over the inputs of one row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from privfedmm.fusions.registry import FusionEntry


def _mlp(inputs: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs * dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))


class SumFusion(nn.Module):
    """Adds the inputs."""

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the sum of the inputs, each [..., dim]: [..., dim]."""
        return torch.stack(list(inputs.values())).sum(0)


class MlpFusion(nn.Module):
    """Applies two linear layers with a ReLU between them to the concatenated inputs."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        self.mlp = _mlp(len(names), dim)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the fused inputs, each [..., dim]: [..., dim]."""
        return self.mlp(torch.cat(list(inputs.values()), dim=-1))


class GateFusion(nn.Module):
    """Applies one linear map to the concatenated sigmoid gates of the inputs."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        for name in names:
            gate = nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid())
            self.add_module(f"{name}_gate", gate)
        self.fusion = nn.Linear(len(names) * dim, dim)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the map of the gates of the inputs, each [..., dim]: [..., dim]."""
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
    """Mixes the three modules above, weighted by a router that reads their outputs."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        self.router = _Router(3, dim, 3)
        self.experts = nn.ModuleList([SumFusion(), MlpFusion(names, dim), GateFusion(names, dim)])

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the weighted mean of the experts' outputs, [..., dim], for inputs [..., dim] each.
        """
        outputs = [expert(inputs) for expert in self.experts]
        weight = self.router(torch.cat(outputs, dim=-1))
        return torch.stack(outputs, dim=-1) @ weight


class AttentionFusion(nn.Module):
    """Applies self-attention of one head over rows [..., rows, dim], then a linear map."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(len(names) * dim, 1, batch_first=True)
        self.fc_out = nn.Linear(len(names) * dim, dim)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the attended inputs, each [..., rows, dim], mapped to [..., rows, dim]."""
        joined = torch.cat(list(inputs.values()), dim=-1)
        attended, _ = self.attn(joined, joined, joined, need_weights=False)
        return self.fc_out(attended)


_REFERENCE = "GFMFR, arXiv 2509.19955"
SUM = FusionEntry(name="sum", summary="adds the inputs", reference=_REFERENCE,
                  build=lambda names, dim: SumFusion())
MLP = FusionEntry(name="mlp", summary="two layers on the inputs side by side",
                  reference=_REFERENCE, build=MlpFusion)
GATE = FusionEntry(name="gate", summary="one linear map on the sigmoid gates of the inputs",
                   reference=_REFERENCE, build=GateFusion)
MOE = FusionEntry(name="moe", summary="sum, mlp and gate, weighed by a router",
                  reference=_REFERENCE, build=MoeFusion)
ATTENTION = FusionEntry(name="attention", summary="self-attention over the rows of a group",
                        reference=_REFERENCE, build=AttentionFusion)
