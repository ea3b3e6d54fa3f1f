"""Break stacks on purpose, to see whether an audit notices.

The real parts are wrapped; nothing in them can be switched off. A broken stack charges its
ledger as the honest one does: that is what makes its claim false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
import torch

from privacy.aggregation.intercept import Tap, TappedAggregator
from privacy.aggregator import Task
from privacy.audit.broken_clip import (
    ClipOnce,
    DenseClip,
    DoubleClip,
    EachClip,
    LateStack,
    MaxClip,
    NoClip,
    SomeClip,
    with_clip,
)
from privacy.audit.broken_noise import (
    NOISES,
    AlteredNoise,
    Change,
    WeakNoise,
    one_user_again,
    two_users_alike,
    without_round,
    without_users,
)
from privacy.audit.broken_source import KnownKey, LateSource, Remembering, Scaled
from privacy.audit.counts import AuditError
from privacy.noise import Noise
from privacy.randomness import Source, SystemSource
from privacy.sampling import Cohort, Poisson, Sampling
from privacy.stack import PrivacyStack
from privacy.transforms import JointClip, Mechanism
from privacy.uploads import Dense, Uploads


def _third_doubled(task: Task, first: int = 0) -> Tap:
    """Uploads of the lower third of the cohort's numbers count twice, from a round on: real users,
    in an audit."""
    if task.cohort.round < first:
        return lambda ids, uploads: uploads
    last = int(task.cohort.ids[max(len(task.cohort.ids) // 3 - 1, 0)])

    def tap(ids: np.ndarray, uploads: Uploads) -> Uploads:
        factor = torch.from_numpy(np.where(ids <= last, 2, 1))
        return {n: Dense(p.dense() * factor.reshape(-1, *[1] * (p.dense().dim() - 1)).to(
            p.dense().dtype)) for n, p in uploads.items()}

    return tap


def _doubled(ids: np.ndarray, uploads: Uploads) -> Uploads:
    """Every upload twice, as after a repeated message."""
    return {name: part.holding(part.held() * 2) for name, part in uploads.items()}


@dataclass(frozen=True)
class _TwiceAsMany:
    """Takes part twice as often as it says."""

    stated: Sampling

    @property
    def adjacency(self) -> str:
        return self.stated.adjacency

    @property
    def rate(self) -> float:
        return self.stated.rate

    @property
    def full(self) -> bool:
        return self.stated.full

    @property
    def event(self) -> str:
        return self.stated.event

    def draw(self, population: int, round_: int, source: Source) -> Cohort:
        return Poisson(min(2 * self.rate, 0.999)).draw(population, round_, source)


@dataclass(frozen=True)
class _PublicCohorts(_TwiceAsMany):
    """Draws cohorts that everybody can draw."""

    def draw(self, population: int, round_: int, source: Source) -> Cohort:
        return self.stated.draw(population, round_, KnownKey(0))


def _clip(stack: PrivacyStack, mechanism: Mechanism, kind: type[JointClip]) -> PrivacyStack:
    return replace(stack, mechanism=with_clip(mechanism, kind))


def _weak(stack: PrivacyStack, mechanism: Mechanism, factor: float) -> PrivacyStack:
    if mechanism.noise.drawn_from == "normal":
        return replace(stack, source=Scaled(stack.source, factor))
    weak = cast(Noise, WeakNoise(mechanism.noise, factor))
    return replace(stack, mechanism=replace(mechanism, noise=weak))


def _of_clients(stack: PrivacyStack, mechanism: Mechanism, fault: str) -> None:
    """Refuse a fault of noise that clients add where they add none."""
    if mechanism.noise.place.on_sum:
        raise AuditError(f"{fault} breaks noise that clients add; this stack adds "
                         f"{mechanism.noise.place} noise: use same_noise_each_round")


def _once(stack: PrivacyStack, mechanism: Mechanism) -> PrivacyStack:
    _of_clients(stack, mechanism, "noise_per_client_once")
    return replace(stack, source=Remembering(stack.source))


def _users(
    stack: PrivacyStack, mechanism: Mechanism, fault: str, make: Callable[[], Change]
) -> PrivacyStack:
    _of_clients(stack, mechanism, fault)
    return _altered(stack, mechanism, make)


def _twice(stack: PrivacyStack, mechanism: Mechanism) -> PrivacyStack:
    if not mechanism.noise.place.on_sum:
        raise AuditError(f"cohort_miscounted cannot hurt {mechanism.noise.place} noise: it is in "
                         "the uploads, and is counted as often as they are")
    tapped = TappedAggregator(stack.aggregator, lambda task: _doubled)
    # A server that clips what it reads would undo it.
    return replace(_clip(stack, mechanism, ClipOnce), aggregator=tapped)


def _each(stack: PrivacyStack, mechanism: Mechanism) -> PrivacyStack:
    if len(stack.releases) < 2:
        raise AuditError("clip_each_release needs two releases: this stack has one, whose clip is "
                         "the clip of all together")
    return _clip(stack, mechanism, EachClip)


def _dense(stack: PrivacyStack, mechanism: Mechanism) -> PrivacyStack:
    projected = mechanism.project.bases if mechanism.project else {}
    if all(r.name in projected or len(r.shape) != 2 for r in stack.releases):
        raise AuditError("clip_of_dense_alone breaks tables that come by their rows; this stack "
                         "projects every table before the clip, or has none")
    return _clip(stack, mechanism, DenseClip)


def _sampled(
    stack: PrivacyStack, mechanism: Mechanism, fault: str, kind: type[_TwiceAsMany]
) -> PrivacyStack:
    if not isinstance(stack.sampling, Poisson):
        raise AuditError(f"{fault} breaks Poisson cohorts; this stack draws none")
    return replace(stack, sampling=kind(stack.sampling))


def _altered(
    stack: PrivacyStack, mechanism: Mechanism, make: Callable[[], Change]
) -> PrivacyStack:
    noise = cast(Noise, AlteredNoise(mechanism.noise, make))
    return replace(stack, mechanism=replace(mechanism, noise=noise))


def _tapped(stack: PrivacyStack, mechanism: Mechanism, first: int) -> PrivacyStack:
    attach = partial(_third_doubled, first=first)
    return replace(stack, aggregator=TappedAggregator(stack.aggregator, attach))


def _later_key(stack: PrivacyStack, mechanism: Mechanism, key: Source) -> PrivacyStack:
    return replace(stack, source=LateSource(SystemSource(), key))


Break = Callable[[PrivacyStack, Mechanism], PrivacyStack]
_BROKEN: Mapping[str, Break] = {
    "noise_off": lambda s, m: _weak(s, m, 0.0),
    "noise_half": lambda s, m: _weak(s, m, 0.5),
    "clip_off": lambda s, m: _clip(s, m, NoClip),
    "wrong_clip_in_noise": lambda s, m: _clip(s, m, DoubleClip),
    "same_noise_each_round": lambda s, m: replace(s, source=Remembering(s.source)),
    "noise_per_client_once": _once,
    "cohort_miscounted": _twice,
    "cohorts_twice_as_large": partial(_sampled, fault="cohorts_twice_as_large", kind=_TwiceAsMany),
    "cohorts_public": partial(_sampled, fault="cohorts_public", kind=_PublicCohorts),
    "real_users_twice": partial(_tapped, first=0),
    "later_users_twice": partial(_tapped, first=1),
    "clip_below_8": lambda s, m: _clip(s, m, SomeClip),
    "later_clip_below_8": lambda s, m: LateStack.of(s, SomeClip),
    "clip_by_maximum": lambda s, m: _clip(s, m, MaxClip),
    "clip_each_release": _each,
    "clip_of_dense_alone": _dense,
    "public_key": lambda s, m: replace(s, source=KnownKey(0)),
    "later_public_key": lambda s, m: _later_key(s, m, KnownKey(0)),
    "seed_of_8_bits": lambda s, m: replace(s, source=KnownKey.of_8_bits()),
    "later_seed_of_8_bits": lambda s, m: _later_key(s, m, KnownKey.of_8_bits()),
    "one_user_without": partial(_users, fault="one_user_without", make=without_users(10**9)),
    "some_users_without": partial(_users, fault="some_users_without", make=without_users(16)),
    "two_users_alike": partial(_users, fault="two_users_alike", make=two_users_alike),
    "one_user_again": partial(_users, fault="one_user_again", make=one_user_again),
    **{name: partial(_altered, make=make) for name, make in NOISES.items()},
}
# Of the last round of so many.
_LAST: Mapping[str, Callable[[PrivacyStack, Mechanism, int], PrivacyStack]] = {
    "last_release_without": lambda s, m, last: _altered(s, m, without_round(last)),
    "last_users_twice": lambda s, m, last: _tapped(s, m, last),
    "last_clip_off": lambda s, m, last: LateStack.of(s, NoClip, last),
}
SABOTAGES = (*_BROKEN, *_LAST)


def sabotage(stack: PrivacyStack, name: str, rounds: int | None = None) -> PrivacyStack:
    """Return the stack with one fault: a name of SABOTAGES.

    noise_off, noise_half: no noise, half of it. clip_off: any norm passes. wrong_clip_in_noise:
    uploads keep twice the norm that the noise is made for. same_noise_each_round: the first
    round's noise again; noise_per_client_once: the same for noise that clients add.
    cohort_miscounted: each upload is summed twice; real_users_twice: those of a third of the
    cohort; cohorts_twice_as_large: everybody is drawn twice as often as stated; cohorts_public: by
    a key that everybody has. clip_below_8: what is shorter than eight clip norms passes;
    clip_by_maximum: the largest value is clipped, not the norm; clip_each_release: each release
    alone; clip_of_dense_alone: what comes by its rows passes. public_key, seed_of_8_bits: the
    source is keyed by a constant, by one byte. one_user_without, some_users_without: one user of
    all, of sixteen, adds no noise of its own; one_user_again: one adds that of its first round in
    all; two_users_alike: one adds what another does. The others are those of
    `broken_noise.NOISES`. later_...: from the second round on; last_...: in the last of `rounds`.

    Raises AuditError for another name, without a mechanism, and where the fault cannot occur.
    """
    if name not in SABOTAGES:
        raise AuditError(f"no sabotage is called {name!r}; there are {', '.join(SABOTAGES)}")
    if stack.mechanism is None:
        raise AuditError("the stack has no mechanism that could be broken")
    if name in _BROKEN:
        return _BROKEN[name](stack, stack.mechanism)
    if rounds is None:
        raise AuditError(f"{name} needs the number of rounds")
    return _LAST[name](stack, stack.mechanism, rounds - 1)
