"""Let the clip norm follow a quantile of the clients' norms (Andrew et al. 2021, algorithm 1).

Every client sends one bit beside its clipped vector: whether the clip left it as it was, as +1/2 or
-1/2. The noisy share of such clients moves the clip norm of the next round. The clip norm of a
round is therefore known before the round, and post-processing of what was released before it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from privacy.bounds import ChainError
from privacy.randomness import Source
from privacy.releases import Release
from privacy.sampling import Everyone
from privacy.transforms import Clipped, GaussianNoise, JointClip, Mechanism, Step, chain
from privacy.uploads import Dense, Uploads

QUANTILE = "clip_quantile"
_BIT = 0.5  # leaving a client out moves the sum of bits by this


@dataclass(frozen=True)
class ClipRule:
    """Say how the clip norm moves from round to round; every figure is public.

    quantile: share of clients that should stay unclipped. bit_stddev: absolute standard deviation
    of the noise on the sum of bits; 0 where the vectors get none either. Raises ChainError for
    values from which no rule follows.
    """

    start: float
    smallest: float
    largest: float
    quantile: float = 0.5
    learning_rate: float = 0.2
    bit_stddev: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= self.start <= self.largest < math.inf:
            raise ChainError(f"the clip norm starts at {self.start:g}, outside its caps "
                             f"{self.smallest:g} and {self.largest:g}; widen them")
        if not 0 < self.quantile < 1 or not 0 < self.learning_rate < math.inf:
            raise ChainError("the target quantile must be between 0 and 1 and the learning rate "
                             f"positive, got {self.quantile:g} and {self.learning_rate:g}")
        if not 0 <= self.bit_stddev < math.inf:
            raise ChainError(f"bit_stddev must be 0 or more, got {self.bit_stddev}")

    def after(self, clip_norm: float, share: float) -> float:
        """Return the next clip norm: C exp(-rate (share - quantile)), within the caps (Andrew et
        al. 2021, algorithm 1).

        share: released, so noise may carry it outside 0..1; it counts as the nearer end.
        """
        moved = clip_norm * math.exp(
            -self.learning_rate * (min(max(share, 0.0), 1.0) - self.quantile))
        return min(max(moved, self.smallest), self.largest)

    def trajectory(self, shares: list[float]) -> list[float]:
        """Return the clip norm of every round and of the next one: one more than there are
        shares."""
        norms = [self.start]
        for share in shares:
            norms.append(self.after(norms[-1], share))
        return norms

    def vector_multiplier(self, noise_multiplier: float) -> float:
        """Return the multiplier on the vectors that leaves both releases at `noise_multiplier`
        together.

        z_v = (z^-2 - (2 bit_stddev)^-2)^(-1/2) (Andrew et al. 2021, theorem 1). Raises ChainError
        where the bits alone would cost as much.
        """
        if not noise_multiplier:
            return 0.0
        rest = noise_multiplier**-2 - (
            (self.bit_stddev / _BIT) ** -2 if self.bit_stddev else math.inf)
        if rest <= 0:
            raise ChainError(
                f"the noise on the clip bits (standard deviation {self.bit_stddev:g}) spends the "
                f"whole budget; it must be above {noise_multiplier * _BIT:g}: raise "
                "dp.clip_bit_stddev, or use a fixed clip")
        return float(rest**-0.5)


@dataclass(frozen=True)
class QuantileMechanism(Mechanism):
    """Protect one round: apply the chain at that round's clip norm, and send the bit beside it."""

    bit_stddev: float = 0.0

    def on_clients(
        self, uploads: Uploads, ids: np.ndarray, source: Source, round_: int
    ) -> Clipped:
        """Apply the chain to the uploads of clients ids [block]; the bit says whether the clip left
        a client's vector as it was."""
        clipped = super().on_clients(uploads, ids, source, round_)
        bits = (~clipped.shortened & ~clipped.zeroed).float() - _BIT
        return replace(clipped, uploads={**clipped.uploads, QUANTILE: Dense(bits[:, None])})

    def on_sum(
        self, sums: Mapping[str, Tensor], source: Source, round_: int,
        noised: Collection[str] = (),
    ) -> dict[str, Tensor]:
        """Add noise to the vectors' sums, and noise of its own to the sum of bits."""
        rest = {name: x for name, x in sums.items() if name != QUANTILE}
        bits = GaussianNoise(self.bit_stddev / _BIT, _BIT).on_sums(
            {QUANTILE: sums[QUANTILE]}, {QUANTILE: 1.0}, source, round_)
        return {**super().on_sum(rest, source, round_, noised), **bits}


@dataclass
class AdaptiveClip:
    """Keep the rule and the released shares of the rounds so far; part of every checkpoint."""

    rule: ClipRule
    shares: list[float] = field(default_factory=list)

    @property
    def release(self) -> Release:
        """Return the release of the bits, which leave a client beside the declared releases."""
        return Release(QUANTILE, (1,), meaning="1/2 where the clip left a client's vector as it "
                                               "was, -1/2 elsewhere")

    def clip_norm(self, round_: int) -> float:
        """Return the clip norm of a round, which follows from the releases before it alone."""
        return self.rule.trajectory(self.shares[:round_])[round_]

    def at_rest(self, rounds: int) -> AdaptiveClip:
        """Return a clip of the same rule that has stood still for `rounds` rounds."""
        return AdaptiveClip(self.rule, [self.rule.quantile] * rounds)

    def mechanism(self, base: Mechanism, round_: int) -> QuantileMechanism:
        """Return the round's mechanism: `base` at the round's clip norm, both releases at its
        price.

        Raises ChainError for chains that clip or add noise elsewhere than the rule assumes.
        """
        if not base.noise.place.on_sum:
            raise ChainError("adaptive clipping needs noise on the sum (trust central): the bits "
                             "are summed before they get theirs")
        if not base.noise.event(Everyone()).combines:
            raise ChainError(f"adaptive clipping splits a budget between Gaussian releases; "
                             f"{base.noise.kind} noise does not combine with the bits': use a "
                             "fixed clip")
        if base.quantise is not None:
            raise ChainError("adaptive clipping and a fixed grid do not go together: the grid is "
                             "made for one clip norm")
        norm = self.clip_norm(round_)
        multiplier = self.rule.vector_multiplier(base.noise.noise_multiplier)
        steps: list[Step] = [base.project] if base.project else []
        built = chain([*steps, JointClip(norm, base.clip.weights),
                       base.noise.remade(multiplier, norm)])
        stddev = self.rule.bit_stddev if base.noise.noise_multiplier else 0.0
        return QuantileMechanism(built.project, built.clip, built.quantise, built.noise,
                                 built.bound, stddev)

    def learn(self, round_: int, bits: Tensor, denominator: float) -> None:
        """Take in the released sum of bits of a round; a round played again changes nothing."""
        self.shares[round_:] = [float(bits) / denominator + _BIT]

    def to_json(self) -> dict[str, Any]:
        """Return the rule, the released shares and the clip norms that follow, as JSON values."""
        return {**vars(self.rule), "shares": list(self.shares),
                "clip_norms": self.rule.trajectory(self.shares)[:-1]}
