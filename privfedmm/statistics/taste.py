"""A user's taste as an exponential tilt of what everybody likes, fitted on the device.

p_u(i) is proportional to exp(offset_i + u . f_i) with public item features f. The taste vector u
maximises the likelihood of the user's own items minus ridge |u|^2 / 2: concave, so that neither
start nor step decide where it ends. Nothing of it leaves the device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privfedmm.data.types import Rows
from privfedmm.devices.profiles import own_sum

BLOCK = 512


def fit_tilt(
    train: Rows, ids: np.ndarray, offset: Tensor, features: Tensor, ridge: float, steps: int
) -> Tensor:
    """Fit the taste vectors [m, r] of clients ids, from offset [items] and features [items, r].

    It runs gradient ascent with momentum, preconditioned by the curvature of a uniform choice.
    """
    count = torch.from_numpy(train.counts[ids].astype(np.float32))[:, None]
    target = own_sum(train, ids, features)
    curvature = count * features.var(0)[None] + ridge
    taste = torch.zeros(len(ids), features.shape[1])
    velocity = torch.zeros_like(taste)
    for _ in range(steps):
        chosen = torch.softmax(offset + taste @ features.T, dim=1)
        slope = target - count * (chosen @ features) - ridge * taste
        velocity = 0.5 * velocity + 0.5 * slope / curvature
        taste = taste + velocity
    return taste
