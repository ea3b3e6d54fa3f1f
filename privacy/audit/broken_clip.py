"""Clips that are broken on purpose: each lets something pass that the noise is not made for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace

import torch

from privacy.quantise import Quantise
from privacy.stack import PrivacyStack
from privacy.transforms import Clipped, JointClip, Mechanism
from privacy.uploads import Dense, Part, Touched, Uploads


@dataclass(frozen=True)
class AnyNorm(Quantise):
    """Round vectors of any norm, as a quantiser does that nobody bounded."""

    def limit(self, l2: float) -> float:
        return math.inf

    def again(self, uploads: Uploads, limit: float) -> Uploads:
        return uploads


@dataclass(frozen=True)
class NoClip(JointClip):
    """Pass every upload as it is."""

    def apply(self, uploads: Uploads) -> Clipped:
        clients = next(iter(uploads.values())).clients()
        none = torch.zeros(clients, dtype=torch.bool)
        return Clipped(uploads, none, none)

    def again(self, uploads: Uploads) -> Uploads:
        return uploads


@dataclass(frozen=True)
class ClipOnce(JointClip):
    """Clip on the devices alone: what happens on the way is added as it comes."""

    def again(self, uploads: Uploads) -> Uploads:
        return uploads


@dataclass(frozen=True)
class DoubleClip(JointClip):
    """Clip to twice the norm that the noise is made for."""

    def apply(self, uploads: Uploads) -> Clipped:
        return JointClip(2 * self.clip_norm, self.weights).apply(uploads)

    def again(self, uploads: Uploads) -> Uploads:
        return JointClip(2 * self.clip_norm, self.weights).again(uploads)


def _joint(uploads: Uploads, weights: Mapping[str, float]) -> torch.Tensor:
    """The joint vectors [clients, dims]."""
    return torch.cat([p.dense().double().flatten(1) * weights[n] for n, p in uploads.items()],
                     dim=1)


@dataclass(frozen=True)
class SomeClip(JointClip):
    """Leave alone what is shorter than eight clip norms, as after a slip in a comparison."""

    def apply(self, uploads: Uploads) -> Clipped:
        honest = super().apply(uploads)
        short = _joint(uploads, self.weights).norm(dim=1) < 8 * self.clip_norm
        out = {n: Dense(torch.where(short.reshape(-1, *[1] * (p.dense().dim() - 1)),
                                    p.dense(), honest.uploads[n].dense()))
               for n, p in uploads.items()}
        return Clipped(out, honest.zeroed, honest.shortened)


@dataclass(frozen=True)
class MaxClip(JointClip):
    """Clip the largest value in place of the L2 norm."""

    def apply(self, uploads: Uploads) -> Clipped:
        honest = super().apply(uploads)
        most = _joint(uploads, self.weights).abs().amax(dim=1)
        factor = (self.clip_norm / most).clamp(max=1.0).nan_to_num(0.0).float()
        return Clipped({n: p.scaled(factor) for n, p in uploads.items()}, honest.zeroed,
                       honest.shortened)


@dataclass(frozen=True)
class DenseClip(JointClip):
    """Clip vectors in full, and pass those that come by their rows."""

    def apply(self, uploads: Uploads) -> Clipped:
        if any(isinstance(part, Touched) for part in uploads.values()):
            return NoClip(self.clip_norm, self.weights).apply(uploads)
        return super().apply(uploads)


@dataclass(frozen=True)
class EachClip(JointClip):
    """Clip every release by itself to the norm of all together."""

    def apply(self, uploads: Uploads) -> Clipped:
        none = torch.zeros(next(iter(uploads.values())).clients(), dtype=torch.bool)
        out: dict[str, Part] = {}
        for name, part in uploads.items():
            alone = JointClip(self.clip_norm, {name: self.weights[name]})
            out |= alone.apply({name: part}).uploads
        return Clipped(out, none, none)


def with_clip(mechanism: Mechanism, kind: type[JointClip]) -> Mechanism:
    """Return the mechanism with that clip, and a quantiser, if it has one, that bounds nothing."""
    clip, quantise = mechanism.clip, mechanism.quantise
    loose = AnyNorm(quantise.step, quantise.dims) if quantise else None
    return replace(mechanism, clip=kind(clip.clip_norm, clip.weights), quantise=loose)


@dataclass(frozen=True)
class LateStack(PrivacyStack):
    """Play a stack whose mechanism is another from a round on.

    broken: gives it, from the mechanism that it takes the place of.
    """

    broken: Callable[[Mechanism], Mechanism] = field(default=lambda mechanism: mechanism)
    first: int = 1

    @classmethod
    def of(
        cls, stack: PrivacyStack, kind: type[JointClip], first: int = 1
    ) -> LateStack:
        """Return a stack that clips so from a round on."""
        own = {f.name: getattr(stack, f.name) for f in fields(PrivacyStack)}
        return cls(**own, broken=lambda m: with_clip(m, kind), first=first)

    def at(self, round_: int) -> Mechanism | None:
        mechanism = super().at(round_)
        return self.broken(mechanism) if mechanism and round_ >= self.first else mechanism
