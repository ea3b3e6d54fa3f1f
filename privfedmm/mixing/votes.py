"""Which of a few weights serves a user best, by where they rank the item that judges."""

from __future__ import annotations

import torch
from torch import Tensor


def votes(parts: Tensor, item: Tensor, candidates: Tensor, choices: Tensor) -> Tensor:
    """Return each client's vote [m, S], of length 1, or 0 for a client without an item.

    choices [S, p]: the weights to choose from. Those that rank the item best share the
    vote; other arguments are those of `moments`.
    """
    scores = torch.einsum("mip,sp->msi", parts, choices)
    own = scores[torch.arange(len(parts)), :, item.clamp(min=0)]
    ahead = (scores >= own[:, :, None]) & candidates[:, None]
    rank = ahead.sum(2) - 1  # ties count against it, as in the evaluation
    best = (rank == rank.min(1, keepdim=True).values).float()
    best = best / best.norm(dim=1, keepdim=True)
    return best * (item >= 0)[:, None]
