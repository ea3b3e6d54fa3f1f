"""Break stacks on purpose, to see whether an audit notices.

The real parts are wrapped; nothing in them can be switched off. A broken stack charges its
ledger as the honest one does: that is what makes its claim false.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from privacy.aggregation.intercept import Tap, TappedAggregator
from privacy.aggregator import Task
from privacy.audit.broken_noise import NOISES, AlteredNoise, Change, KnownKey, without_round
from privacy.audit.counts import AuditError
from privacy.noise import Noise, Scale
from privacy.quantise import Quantise
from privacy.randomness import Source
from privacy.stack import PrivacyStack
from privacy.transforms import Clipped, JointClip, Mechanism
from privacy.uploads import Dense, Part, Uploads


@dataclass(frozen=True)
class _Scaled:
    """A source whose normal numbers are too small by a factor."""

    source: Source
    factor: float

    @property
    def name(self) -> str:
        return self.source.name

    def raw(self, label: str, round_: int, size: int) -> bytes:
        return self.source.raw(label, round_, size)

    def uniform(self, label: str, round_: int, size: int) -> np.ndarray:
        return self.source.uniform(label, round_, size)

    def normal(self, label: str, round_: int, size: int) -> np.ndarray:
        return self.source.normal(label, round_, size) * self.factor


@dataclass(frozen=True)
class _Remembering:
    """A source that gives a label its first numbers in every later round as well."""

    source: Source
    _kept: dict[tuple[str, int], np.ndarray] = field(default_factory=dict, repr=False)
    _bytes: dict[tuple[str, int], bytes] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return self.source.name

    def raw(self, label: str, round_: int, size: int) -> bytes:
        if (label, size) not in self._bytes:
            self._bytes[label, size] = self.source.raw(label, round_, size)
        return self._bytes[label, size]

    def uniform(self, label: str, round_: int, size: int) -> np.ndarray:
        return self.source.uniform(label, round_, size)

    def normal(self, label: str, round_: int, size: int) -> np.ndarray:
        if (label, size) not in self._kept:
            self._kept[label, size] = self.source.normal(label, round_, size)
        return self._kept[label, size]


class _WeakNoise:
    """Noise too small by a factor; priced, and described, as the whole one."""

    def __init__(self, honest: Noise, factor: float) -> None:
        self._honest = honest
        self._weak = honest.remade(honest.noise_multiplier * factor, honest.sensitivity)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)

    def on_clients(
        self, uploads: Uploads, scale: Scale, ids: np.ndarray, source: Source, round_: int
    ) -> Uploads:
        return self._weak.on_clients(uploads, scale, ids, source, round_)

    def on_sum(
        self, sums: Mapping[str, torch.Tensor], scale: Scale, source: Source, round_: int
    ) -> dict[str, torch.Tensor]:
        return self._weak.on_sum(sums, scale, source, round_)


@dataclass(frozen=True)
class _AnyNorm(Quantise):
    """Rounds vectors of any norm, as a quantiser does that nobody bounded."""

    def limit(self, l2: float) -> float:
        return math.inf

    def again(self, uploads: Uploads, limit: float) -> Uploads:
        return uploads


@dataclass(frozen=True)
class _NoClip(JointClip):
    """Passes every upload as it is."""

    def apply(self, uploads: Uploads) -> Clipped:
        clients = next(iter(uploads.values())).clients()
        none = torch.zeros(clients, dtype=torch.bool)
        return Clipped(uploads, none, none)

    def again(self, uploads: Uploads) -> Uploads:
        return uploads


@dataclass(frozen=True)
class _ClipOnce(JointClip):
    """Clips on the devices alone: what happens on the way is added as it comes."""

    def again(self, uploads: Uploads) -> Uploads:
        return uploads


@dataclass(frozen=True)
class _DoubleClip(JointClip):
    """Clips to twice the norm that the noise is made for."""

    def apply(self, uploads: Uploads) -> Clipped:
        return JointClip(2 * self.clip_norm, self.weights).apply(uploads)

    def again(self, uploads: Uploads) -> Uploads:
        return JointClip(2 * self.clip_norm, self.weights).again(uploads)


@dataclass(frozen=True)
class _SomeClip(JointClip):
    """Leaves alone what is shorter than eight clip norms, as after a slip in a comparison."""

    def apply(self, uploads: Uploads) -> Clipped:
        honest = super().apply(uploads)
        short = self._norms(uploads) < 8 * self.clip_norm
        out = {n: Dense(torch.where(short.reshape(-1, *[1] * (p.dense().dim() - 1)),
                                    p.dense(), honest.uploads[n].dense()))
               for n, p in uploads.items()}
        return Clipped(out, honest.zeroed, honest.shortened)

    def _norms(self, uploads: Uploads) -> torch.Tensor:
        parts = [p.dense().double().flatten(1) * self.weights[n] for n, p in uploads.items()]
        return torch.cat(parts, dim=1).norm(dim=1)


@dataclass(frozen=True)
class _MaxClip(_SomeClip):
    """Clips the largest value in place of the L2 norm."""

    def apply(self, uploads: Uploads) -> Clipped:
        honest = JointClip(self.clip_norm, self.weights).apply(uploads)
        parts = [p.dense().double().flatten(1) * self.weights[n] for n, p in uploads.items()]
        most = torch.cat(parts, dim=1).abs().amax(dim=1)
        factor = (self.clip_norm / most).clamp(max=1.0).nan_to_num(0.0).float()
        return Clipped({n: p.scaled(factor) for n, p in uploads.items()}, honest.zeroed,
                       honest.shortened)


@dataclass(frozen=True)
class _EachClip(JointClip):
    """Clips every release by itself to the norm of all together."""

    def apply(self, uploads: Uploads) -> Clipped:
        none = torch.zeros(next(iter(uploads.values())).clients(), dtype=torch.bool)
        out: dict[str, Part] = {}
        for name, part in uploads.items():
            alone = JointClip(self.clip_norm, {name: self.weights[name]})
            out |= alone.apply({name: part}).uploads
        return Clipped(out, none, none)


def _first_third_doubled(task: Task) -> Tap:
    """Uploads of the lower third of the cohort's numbers count twice: real users, in an audit."""
    last = int(task.cohort.ids[max(len(task.cohort.ids) // 3 - 1, 0)])

    def tap(ids: np.ndarray, uploads: Uploads) -> Uploads:
        factor = torch.from_numpy(np.where(ids <= last, 2, 1))
        return {n: Dense(p.dense() * factor.reshape(-1, *[1] * (p.dense().dim() - 1)).to(
            p.dense().dtype)) for n, p in uploads.items()}

    return tap


def _doubled(ids: np.ndarray, uploads: Uploads) -> Uploads:
    """Every upload twice, as after a repeated message."""
    return {name: part.holding(part.held() * 2) for name, part in uploads.items()}


def _clip(stack: PrivacyStack, mechanism: Mechanism, kind: type[JointClip]) -> PrivacyStack:
    clip, quantise = mechanism.clip, mechanism.quantise
    loose = _AnyNorm(quantise.step, quantise.dims) if quantise else None
    return replace(stack, mechanism=replace(
        mechanism, clip=kind(clip.clip_norm, clip.weights), quantise=loose))


def _weak(stack: PrivacyStack, mechanism: Mechanism, factor: float) -> PrivacyStack:
    if mechanism.noise.drawn_from == "normal":
        return replace(stack, source=_Scaled(stack.source, factor))
    weak = cast(Noise, _WeakNoise(mechanism.noise, factor))
    return replace(stack, mechanism=replace(mechanism, noise=weak))


def _once(stack: PrivacyStack, mechanism: Mechanism) -> PrivacyStack:
    if mechanism.noise.place == "central":
        raise AuditError("noise_per_client_once breaks noise that clients add; this stack adds "
                         f"{mechanism.noise.place} noise: use same_noise_each_round")
    return replace(stack, source=_Remembering(stack.source))


def _twice(stack: PrivacyStack, mechanism: Mechanism) -> PrivacyStack:
    if mechanism.noise.place != "central":
        raise AuditError(f"cohort_miscounted cannot hurt {mechanism.noise.place} noise: it is in "
                         "the uploads, and is counted as often as they are")
    tapped = TappedAggregator(stack.aggregator, lambda task: _doubled)
    # A server that clips what it reads would undo it.
    return replace(_clip(stack, mechanism, _ClipOnce), aggregator=tapped)


def _altered(
    stack: PrivacyStack, mechanism: Mechanism, make: Callable[[], Change]
) -> PrivacyStack:
    noise = cast(Noise, AlteredNoise(mechanism.noise, make))
    return replace(stack, mechanism=replace(mechanism, noise=noise))


_BROKEN: Mapping[str, Callable[[PrivacyStack, Mechanism], PrivacyStack]] = {
    "noise_off": lambda s, m: _weak(s, m, 0.0),
    "noise_half": lambda s, m: _weak(s, m, 0.5),
    "clip_off": lambda s, m: _clip(s, m, _NoClip),
    "wrong_clip_in_noise": lambda s, m: _clip(s, m, _DoubleClip),
    "same_noise_each_round": lambda s, m: replace(s, source=_Remembering(s.source)),
    "noise_per_client_once": _once,
    "cohort_miscounted": _twice,
    "real_users_twice": lambda s, m: replace(
        s, aggregator=TappedAggregator(s.aggregator, _first_third_doubled)),
    "clip_below_8": lambda s, m: _clip(s, m, _SomeClip),
    "clip_by_maximum": lambda s, m: _clip(s, m, _MaxClip),
    "clip_each_release": lambda s, m: _clip(s, m, _EachClip),
    "public_key": lambda s, m: replace(s, source=KnownKey()),
    "seed_of_8_bits": lambda s, m: replace(s, source=KnownKey.of_8_bits()),
    **{name: partial(_altered, make=make) for name, make in NOISES.items()},
}
LAST = "last_release_without"
SABOTAGES = (*_BROKEN, LAST)


def sabotage(stack: PrivacyStack, name: str, rounds: int | None = None) -> PrivacyStack:
    """Return the stack with one fault: a name of SABOTAGES.

    noise_off, noise_half: no noise, half of it. clip_off: any norm passes. wrong_clip_in_noise:
    uploads keep twice the norm that the noise is made for. same_noise_each_round: the first
    round's noise again; noise_per_client_once: the same for noise that clients add.
    cohort_miscounted: each upload is summed twice; real_users_twice: those of a third of the
    cohort. clip_below_8: what is shorter than eight clip norms passes; clip_by_maximum: the largest
    value is clipped, not the norm; clip_each_release: each release alone. public_key,
    seed_of_8_bits: the source is keyed by a constant, by one byte. last_release_without: the last
    of `rounds` has no noise. The others are those of `broken_noise.NOISES`.

    Raises AuditError for another name, without a mechanism, and where the fault cannot occur.
    """
    if name not in SABOTAGES:
        raise AuditError(f"no sabotage is called {name!r}; there are {', '.join(SABOTAGES)}")
    if stack.mechanism is None:
        raise AuditError("the stack has no mechanism that could be broken")
    if name == LAST:
        if rounds is None:
            raise AuditError(f"{LAST} needs the number of rounds")
        return _altered(stack, stack.mechanism, without_round(rounds - 1))
    return _BROKEN[name](stack, stack.mechanism)
