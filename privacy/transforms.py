"""The steps between a client's update and a release: project, clip, quantise, noise.

A chain carries its bound from step to step and cannot be built in an order that breaks it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from privacy.bounds import Bound, ChainError
from privacy.randomness import Source
from privacy.uploads import Dense, Part, Release, Touched, Uploads

Place = Literal["central", "local", "distributed"]
_ROUNDING = 1e-5  # relative, of a float32 sum of squares


@dataclass(frozen=True)
class Project:
    """Table releases onto public orthonormal columns: name -> basis [rows, r].

    A client's [rows, width] becomes B'x [r, width]; the total is expanded with B after the sum.
    Done before the clip, so that the clip is spent on what remains.
    """

    bases: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for name, basis in self.bases.items():
            gram = basis.T.double() @ basis.double()
            if not torch.allclose(gram, torch.eye(len(gram), dtype=gram.dtype), atol=1e-4):
                raise ChainError(f"the basis of {name!r} is not orthonormal; a projection onto it "
                                 "could grow an update")

    def bound(self, before: Bound) -> Bound:
        """Raises ChainError after a clip: the clip would be spent on what is thrown away."""
        if before != Bound():
            raise ChainError("project before clip, quantise and noise")
        return before

    def shape(self, release: Release) -> tuple[int, ...]:
        """Shape of one client's part after the projection."""
        basis = self.bases.get(release.name)
        return release.shape if basis is None else (basis.shape[1], *release.shape[1:])

    def apply(self, uploads: Uploads) -> Uploads:
        """The uploads with every named table projected."""
        return {n: _projected(p, self.bases[n]) if n in self.bases else p
                for n, p in uploads.items()}

    def expand(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Totals back in the shape that the releases declare."""
        return {n: self.bases[n] @ x if n in self.bases else x for n, x in sums.items()}


def _projected(part: Part, basis: Tensor) -> Dense:
    if isinstance(part, Touched):
        rows = basis.index_select(0, part.index.reshape(-1)).reshape(*part.index.shape, -1)
        return Dense(torch.bmm(rows.transpose(1, 2), part.values))
    return Dense(torch.einsum("ir,miw->mrw", basis, part.dense()))


@dataclass(frozen=True)
class Clipped:
    """A clipped block. zeroed, shortened [clients] bool: unusable; longer than the clip."""

    uploads: Uploads
    zeroed: Tensor
    shortened: Tensor


@dataclass(frozen=True)
class JointClip:
    """One L2 clip of the whole upload: part b enters the joint vector multiplied by weights[b]."""

    clip_norm: float
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if not 0 < self.clip_norm < math.inf:
            raise ChainError(f"clip_norm must be positive and finite, got {self.clip_norm}")
        for name, weight in self.weights.items():
            if not 0 < weight < math.inf:
                raise ChainError(f"the weight of {name!r} must be positive, got {weight}")

    def bound(self, before: Bound) -> Bound:
        """Raises ChainError after noise or quantising, which a clip would undo."""
        if before.noise_stddev or before.grid:
            raise ChainError("clip before quantise and noise")
        return replace(before, l2=min(before.l2, self.clip_norm))

    def apply(self, uploads: Uploads) -> Clipped:
        """min(1, clip_norm / norm) times each client; a client with NaN, infinity or a norm
        beyond float32 contributes zero."""
        squared = sum(self.weights[n] ** 2 * p.squared_norms() for n, p in uploads.items())
        assert isinstance(squared, Tensor)
        zeroed = ~torch.isfinite(squared.float())
        norm = squared.sqrt()
        # Norms are summed in float32: what ends within their rounding of the clip is brought
        # below it, so that no rounding ends above it.
        inside = norm <= self.clip_norm * (1 - _ROUNDING)
        factor = torch.where(inside, 1.0, self.clip_norm * (1 - _ROUNDING) / norm)
        factor = torch.where(zeroed, 0.0, factor).float()
        return Clipped(
            {n: p.scaled(factor) for n, p in uploads.items()}, zeroed,
            ~zeroed & (norm > self.clip_norm * (1 + _ROUNDING)),
        )


@dataclass(frozen=True)
class Quantise:
    """Every value of the joint vector to the nearest multiple of `step`; zero stays zero."""

    step: float
    dims: int

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf:
            raise ChainError(f"the quantisation step must be positive, got {self.step}")

    def bound(self, before: Bound) -> Bound:
        """The rounding error adds step * sqrt(dims) / 2. Raises ChainError outside clip..noise."""
        if not math.isfinite(before.l2):
            raise ChainError("clip before quantise: nothing bounds what would be rounded")
        if before.grid or before.noise_stddev:
            raise ChainError("quantise once, before the noise")
        return replace(before, l2=before.l2 + self.step * math.sqrt(self.dims) / 2, grid=self.step)

    def apply(self, uploads: Uploads, weights: Mapping[str, float]) -> Uploads:
        """Rounded uploads: a part's own grid is step / weight."""
        return {n: p.rounded(self.step / weights[n]) for n, p in uploads.items()}


@dataclass(frozen=True)
class GaussianNoise:
    """N(0, (noise_multiplier * sensitivity)^2) on every value of the joint vector.

    place: `central` on the sum, `local` on each client's own vector, `distributed` in shares
    inside a secure sum. noise_multiplier 0 adds nothing, and no guarantee follows.
    """

    noise_multiplier: float
    sensitivity: float
    place: Place = "central"

    def __post_init__(self) -> None:
        if not 0 <= self.noise_multiplier < math.inf:
            raise ChainError(f"noise_multiplier must be 0 or more, got {self.noise_multiplier}")
        if self.place == "distributed":
            raise ChainError("distributed noise needs a secure sum; plain aggregation shows the "
                             "server each client's share; use trust central or local")

    @property
    def stddev(self) -> float:
        """Absolute standard deviation in the joint vector."""
        return self.noise_multiplier * self.sensitivity

    def bound(self, before: Bound) -> Bound:
        """Raises ChainError without a clip, for a smaller clip, or a second time."""
        if not math.isfinite(before.l2):
            raise ChainError("clip before noise: nothing bounds what the noise should hide")
        if self.sensitivity < before.l2:
            raise ChainError(f"the noise is made for a bound of {self.sensitivity:g}, but the "
                             f"steps before it only give {before.l2:g}")
        if before.noise_stddev:
            raise ChainError("noise once: a second draw is a second release")
        return replace(before, noise_stddev=self.stddev)

    def on_sums(
        self, sums: Mapping[str, Tensor], weights: Mapping[str, float], source: Source, round_: int
    ) -> dict[str, Tensor]:
        """Sums with noise of stddev / weight in each release."""
        if not self.stddev:
            return dict(sums)
        return {
            n: (x.double() + self._draw(x, weights[n], source, n, round_)).float()
            for n, x in sums.items()
        }

    def on_rows(
        self, uploads: Uploads, weights: Mapping[str, float], ids: np.ndarray, source: Source,
        round_: int,
    ) -> Uploads:
        """Each client's vector with its own noise, in full length: no row stays untouched."""
        out = {}
        for name, part in uploads.items():
            rows = part.dense().double()
            label = f"{name}|{int(ids[0])}|{len(ids)}"
            out[name] = Dense((rows + self._draw(rows, weights[name], source, label, round_))
                              .float())
        return out

    def _draw(
        self, like: Tensor, weight: float, source: Source, label: str, round_: int
    ) -> Tensor:
        drawn = source.normal(label, round_, like.numel()) * (self.stddev / weight)
        return torch.from_numpy(drawn).reshape(like.shape)


Step = Project | JointClip | Quantise | GaussianNoise


@dataclass(frozen=True)
class Mechanism:
    """A chain whose bound has been checked; build it with `chain`."""

    project: Project | None
    clip: JointClip
    quantise: Quantise | None
    noise: GaussianNoise
    bound: Bound

    def on_clients(
        self, uploads: Uploads, ids: np.ndarray, source: Source, round_: int
    ) -> Clipped:
        """What happens on the devices of a block of clients."""
        if self.project:
            uploads = self.project.apply(uploads)
        clipped = self.clip.apply(uploads)
        if self.quantise:
            clipped = replace(
                clipped, uploads=self.quantise.apply(clipped.uploads, self.clip.weights))
        if self.noise.place == "local" and self.noise.stddev:
            clipped = replace(clipped, uploads=self.noise.on_rows(
                clipped.uploads, self.clip.weights, ids, source, round_))
        return clipped

    def on_sum(
        self, sums: Mapping[str, Tensor], source: Source, round_: int
    ) -> dict[str, Tensor]:
        """What happens to the sum before anybody else sees it."""
        if self.noise.place == "central":
            return self.noise.on_sums(sums, self.clip.weights, source, round_)
        return dict(sums)

    def shape(self, release: Release) -> tuple[int, ...]:
        """Shape of one client's part of a release as it leaves the device."""
        return self.project.shape(release) if self.project else release.shape


def chain(steps: Sequence[Step]) -> Mechanism:
    """The mechanism of steps in their order. Raises ChainError where no guarantee would follow."""
    bound = Bound()
    for step in steps:
        bound = step.bound(bound)
    kinds = [type(step) for step in steps]
    if len(set(kinds)) != len(kinds):
        raise ChainError("each kind of step can occur once")
    found = {type(step): step for step in steps}
    clip, noise = found.get(JointClip), found.get(GaussianNoise)
    if not isinstance(clip, JointClip) or not isinstance(noise, GaussianNoise):
        raise ChainError("a chain needs a clip and a noise step (noise_multiplier 0 for none)")
    project, quantise = found.get(Project), found.get(Quantise)
    assert project is None or isinstance(project, Project)
    assert quantise is None or isinstance(quantise, Quantise)
    return Mechanism(project, clip, quantise, noise, bound)
