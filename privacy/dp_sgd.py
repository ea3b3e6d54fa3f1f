"""Add noise inside local training: every step's sum over a client's examples is clipped and noised.

DP-SGD (Abadi et al. 2016, algorithm 1) on each device, full batches, with one interaction as the
example. All that the device computes from then on is post-processing, so the guarantee holds
against the server too. It covers one interaction, not a whole user.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from privacy.bounds import ChainError
from privacy.events import INTERACTION, NON_PRIVATE
from privacy.ledger import Charge
from privacy.randomness import Source
from privacy.releases import Release
from privacy.sampling import Sampling
from privacy.uploads import UploadError

LOCAL_TRAINING = "local_training"
ZERO_OUT_INTERACTION = ("zero-out of one interaction (which users and items there are is public, "
                        "how many interactions a user has is not)")
_ROUNDING = 1e-6  # relative, of the float32 sums that follow the norm
_KEPT = "device/"


@dataclass(frozen=True)
class OnDevice:
    """Clip each example and add noise in the steps that every client takes in a round.

    noise_multiplier: noise standard deviation / clip_norm; 0 adds nothing, and no guarantee
    follows. steps: Gaussian steps a round, the same for every client. Raises ChainError for values
    outside their range.
    """

    noise_multiplier: float
    clip_norm: float
    steps: int
    source: Source
    mechanism: ClassVar[str] = "gaussian"  # the registered noise that each step adds

    def __post_init__(self) -> None:
        if not 0 < self.clip_norm < math.inf:
            raise ChainError(f"clip_norm must be positive and finite, got {self.clip_norm}")
        if not 0 <= self.noise_multiplier < math.inf:
            raise ChainError(f"noise_multiplier must be 0 or more, got {self.noise_multiplier}")
        if self.steps < 1:
            raise ChainError(f"a round needs at least one step, got {self.steps}")

    @property
    def stddev(self) -> float:
        """Return the absolute standard deviation of the noise on a client's summed gradient."""
        return self.noise_multiplier * self.clip_norm

    def factors(self, squared_norms: Tensor) -> Tensor:
        """Return min(1, clip_norm / norm) of each example, float32 of the shape of `squared_norms`;
        0 where its gradient is not finite.

        squared_norms: of each example's whole gradient, all parameters together, float64.
        """
        usable = torch.isfinite(squared_norms)
        norm = squared_norms.clamp(min=0).sqrt()
        limit = self.clip_norm * (1 - _ROUNDING)
        factor = torch.where(norm <= limit, 1.0, limit / norm)
        return torch.where(usable, factor, 0.0).float()

    def noise(self, ids: np.ndarray, values: int, round_: int, step: int) -> Tensor:
        """Draw noise for the whole gradient of each client of a block, touched or not:
        [m, values]."""
        if not self.stddev:
            return torch.zeros(len(ids), values)
        label = f"step {step}|{int(ids[0])}|{len(ids)}"
        drawn = self.source.normal(label, round_, len(ids) * values) * self.stddev
        return torch.from_numpy(drawn).float().reshape(len(ids), values)

    def fits(self, releases: Sequence[Release], mechanism: bool, sampling: Sampling) -> None:
        """Check the stack around the steps. Raises ChainError where the guarantee would not be the
        stated one."""
        if mechanism:
            raise ChainError("devices that train with noise need no clip and no noise on their "
                             "uploads: the mechanism must be None")
        if not sampling.full:
            raise ChainError("training with noise is priced at full participation only: the server "
                             "sees who takes part; set dp.sampling to everyone")
        alone = [r.name for r in releases if not r.every_round]
        if alone:
            raise ChainError(f"release {alone[0]!r} is not made in every round; noisy training "
                             "releases the same every round")

    def charged(self, charge: Charge) -> Charge:
        """Return a round's charge for the steps that every client took."""
        private = self.noise_multiplier > 0
        return replace(
            charge, event=INTERACTION if private else NON_PRIVATE, clip_norm=self.clip_norm,
            noise_multiplier=self.noise_multiplier if private else None,
            steps=self.steps if private else 1)


def keep_devices(
    sums: Mapping[str, Tensor], devices: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Return the sums, and copies of what noisy training left on the devices, under names of their
    own."""
    held = {_KEPT + name: value.clone() for name, value in (devices or {}).items()}
    return {**sums, **held}


def of_devices(name: str) -> bool:
    """Tell whether `keep_devices` gave this name, to something that is no sum."""
    return name.startswith(_KEPT)


def restore_devices(
    kept: Mapping[str, Tensor], devices: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Return the sums of `keep_devices`, and put back in place what it kept of the devices.

    Raises UploadError where something of the devices was not kept.
    """
    for name, value in (devices or {}).items():
        if _KEPT + name not in kept:
            raise UploadError(f"{name} of the devices was not kept with the round's release; "
                              "training again would be a second release: start a new run")
        value.copy_(kept[_KEPT + name])
    return {name: x for name, x in kept.items() if not of_devices(name)}
