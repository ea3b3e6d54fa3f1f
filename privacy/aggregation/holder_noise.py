"""The noise of a central mechanism, which a key holder adds before the server sees a total."""

from __future__ import annotations

import numpy as np
import torch

from privacy.aggregator import Task


def holder_noise(task: Task | None, dims: int) -> np.ndarray:
    """Return what the key holder adds to a total of `dims` integers: int64 [dims], on the grid.

    task: of the encrypted releases alone, in whose order the noise lies. Zeros where the task asks
    for none, and where there is no such task.
    """
    if task is None or task.key_holder_noise is None:
        return np.zeros(dims, dtype=np.int64)
    drawn = [task.key_holder_noise(torch.zeros(r.shape, dtype=torch.int64), r.name).flatten()
             for r in task.releases]
    return torch.cat(drawn).numpy()


def noised(task: Task) -> frozenset[str]:
    """Return the names of the releases whose totals carry the key holder's noise."""
    return frozenset(r.name for r in task.releases if task.key_holder_noise is not None)
