"""Low-rank bilinear pooling as a fusion module (Kim et al., ICLR 2017, equation 6)."""

import torch
from torch import Tensor, nn

from privfedmm.fusions import FusionEntry


class LowRankBilinear(nn.Module):
    """A linear map of the product of every input's own tanh map; one residual for each input."""

    def __init__(self, names: list[str], dim: int) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({name: nn.Linear(dim, dim) for name in names})
        self.out = nn.Linear(dim, dim)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        product = torch.stack([
            torch.tanh(self.maps[name](value)) for name, value in inputs.items()]).prod(0)
        return self.out(product) + torch.stack(list(inputs.values())).mean(0)


LOW_RANK_BILINEAR = FusionEntry(
    name="low_rank_bilinear", summary="product of the inputs in a shared space, with a residual",
    reference="Kim et al., Hadamard product for low-rank bilinear pooling, ICLR 2017",
    build=LowRankBilinear)
