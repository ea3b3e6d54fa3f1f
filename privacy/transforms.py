"""Take the steps between a client's update and a release: project, clip, quantise, noise.

A chain carries its bound from step to step and cannot be built in an order that breaks it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from privacy.bounds import Bound, ChainError
from privacy.charged import Terms
from privacy.gaussian import GaussianNoise
from privacy.noise import Noise, Scale
from privacy.places import Place
from privacy.quantise import TAIL, Quantise, check_capacity
from privacy.randomness import Source
from privacy.releases import Release
from privacy.uploads import Dense, Part, Touched, Uploads, flat

__all__ = [
    "Clipped", "GaussianNoise", "JointClip", "Mechanism", "Noise", "Place", "Project", "Step",
    "chain",
]
_ROUNDING = 1e-5  # relative, of a float32 sum of squares
# Relative, below the clip norm: what a sum in float64 may add to it (`privacy.plain`). A client
# that clipped ends _ROUNDING below; half of that is what its own float32 norm may be wrong by.
_SPARE = _ROUNDING / 2


@dataclass(frozen=True)
class Project:
    """Project table releases onto public orthonormal columns: name -> basis [rows, r].

    A client's [rows, width] becomes B'x [r, width]; the total is expanded with B after the sum.
    Done before the clip, so that the clip is spent on what remains. Raises ChainError for a basis
    that is not orthonormal.
    """

    bases: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for name, basis in self.bases.items():
            gram = basis.T.double() @ basis.double()
            if not torch.allclose(gram, torch.eye(len(gram), dtype=gram.dtype), atol=1e-4):
                raise ChainError(f"the basis of {name!r} is not orthonormal; a projection onto it "
                                 "could grow an update")

    def bound(self, before: Bound) -> Bound:
        """Return the bound as it is. Raises ChainError after a clip: the clip would be spent on
        what is thrown away."""
        if before != Bound():
            raise ChainError("project before clip, quantise and noise")
        return before

    def shape(self, release: Release) -> tuple[int, ...]:
        """Return the shape of one client's part after the projection."""
        basis = self.bases.get(release.name)
        return release.shape if basis is None else (basis.shape[1], *release.shape[1:])

    def apply(self, uploads: Uploads) -> Uploads:
        """Return the uploads with every named table projected."""
        return {n: _projected(p, self.bases[n]) if n in self.bases else p
                for n, p in uploads.items()}

    def expand(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return totals in the shape that the releases declare: a projected one as B x
        [rows, width]."""
        return {n: self.bases[n] @ x if n in self.bases else x for n, x in sums.items()}


def _projected(part: Part, basis: Tensor) -> Dense:
    if isinstance(part, Touched):
        return part.projected(basis)
    return Dense(torch.einsum("ir,miw->mrw", basis, part.dense()))


@dataclass(frozen=True)
class Clipped:
    """Hold a clipped block of clients.

    zeroed [clients] bool: the upload was unusable. shortened [clients] bool: it was longer than the
    clip.
    """

    uploads: Uploads
    zeroed: Tensor
    shortened: Tensor


@dataclass(frozen=True)
class JointClip:
    """Clip the whole upload once in L2: part b enters the joint vector multiplied by weights[b].

    Raises ChainError for a clip norm or a weight that is not positive and finite.
    """

    clip_norm: float
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if not 0 < self.clip_norm < math.inf:
            raise ChainError(f"clip_norm must be positive and finite, got {self.clip_norm}")
        for name, weight in self.weights.items():
            if not 0 < weight < math.inf:
                raise ChainError(f"the weight of {name!r} must be positive, got {weight}")

    def bound(self, before: Bound) -> Bound:
        """Return the bound after the clip. Raises ChainError after noise or quantising, which a
        clip would undo."""
        if before.noise_stddev or before.grid:
            raise ChainError("clip before quantise and noise")
        return replace(before, l2=min(before.l2, self.clip_norm))

    def apply(self, uploads: Uploads) -> Clipped:
        """Multiply each client by min(1, clip_norm / norm); one with NaN, infinity or a norm beyond
        float32 contributes zero."""
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

    def again(self, uploads: Uploads) -> Uploads:
        """Scale each client beyond C (1 - 5e-6), C the clip norm, to C (1 - 1e-5).

        What `apply` returned comes back as it is. Norms are in float64, whose own rounding is below
        1e-9 for vectors of up to 10^6 values.
        """
        squared = sum(
            (self.weights[n] * torch.linalg.vector_norm(
                flat(p.held()), dim=1, dtype=torch.float64)) ** 2
            for n, p in uploads.items())
        assert isinstance(squared, Tensor)
        norm = squared.sqrt()
        factor = torch.where(norm <= self.clip_norm * (1 - _SPARE), 1.0,
                             self.clip_norm * (1 - _ROUNDING) / norm).float()
        if bool((factor == 1).all()):
            return uploads
        return {n: p.scaled(factor) for n, p in uploads.items()}


Step = Project | JointClip | Quantise | Noise


@dataclass(frozen=True)
class Mechanism:
    """Apply a chain whose bound has been checked; build it with `chain`."""

    project: Project | None
    clip: JointClip
    quantise: Quantise | None
    noise: Noise
    bound: Bound

    def on_clients(
        self, uploads: Uploads, ids: np.ndarray, source: Source, round_: int
    ) -> Clipped:
        """Do what happens on the devices of a block of clients, ids [block]."""
        if self.project:
            uploads = self.project.apply(uploads)
        clipped = self.clip.apply(uploads)
        if self.quantise:
            clipped = replace(clipped, uploads=self.quantise.apply(
                clipped.uploads, self.clip.weights, self.clip.clip_norm, ids, source, round_))
        noised = self.noise.on_clients(clipped.uploads, self.scale, ids, source, round_)
        return replace(clipped, uploads=noised)

    def clip_again(self, uploads: Uploads) -> Uploads:
        """Bound each client's vector once more, by a server that reads it: uploads of a block.

        Floats as `JointClip.again` says, integers as `Quantise.again`; what `on_clients` returned
        comes back as it is, to the last bit. What is not in the joint vector (the bit by which a
        clip norm moves) is left.
        """
        joint = {n: p for n, p in uploads.items() if n in self.clip.weights}
        again = self.quantise.again(joint, self.limit) if self.quantise else self.clip.again(joint)
        return {**uploads, **again}

    def on_sum(
        self, sums: Mapping[str, Tensor], source: Source, round_: int,
        noised: Collection[str] = (),
    ) -> dict[str, Tensor]:
        """Do what happens to the sum before anybody else sees it; `noised` have their noise.

        `noised` are known on a grid only, where a key holder adds the noise.
        """
        if self.quantise is None:
            done = self.noise.on_sum(sums, self.scale, source, round_)
            # Rounded after the noise, so post-processing.
            return {name: x.float() for name, x in done.items()}
        bare = {n: x for n, x in sums.items() if n not in noised}
        done = self.noise.on_sum(bare, self.scale, source, round_)
        return self.quantise.decode({n: done.get(n, x) for n, x in sums.items()},
                                    self.clip.weights)

    def grid_noise(self, total: Tensor, source: Source, label: str, round_: int) -> Tensor:
        """Add the noise of a central mechanism to an integer total [...], by whoever holds it."""
        assert self.quantise is not None
        return self.noise.on_sum({label: total}, self.scale, source, round_)[label]

    @property
    def server_adds_noise(self) -> bool:
        """Tell whether noise on the sum is all that hides a client, and a client's norm matters."""
        return self.noise.place.on_sum and self.noise.stddev > 0

    @property
    def scale(self) -> Scale:
        """Return what a noise needs to know of the vectors that it is added to."""
        return Scale(self.clip.weights, self.quantise.step if self.quantise else 0.0)

    @property
    def own_stddev(self) -> float:
        """Return the standard deviation, in the joint vector, of the noise that one client adds; 0
        where a client adds none."""
        step = self.scale.step
        if step:
            return self.noise.share(step) * step
        return self.noise.stddev if self.noise.place.alone else 0.0

    @property
    def limit(self) -> float:
        """Return the bound on the norm of a client's rounded vector, in steps."""
        assert self.quantise is not None
        return self.bound.l2 / self.quantise.step

    def largest(self, clients: int) -> float:
        """Return the largest value of one client's integers, its noise share included.

        Raises CapacityError where the sum of `clients` of them might leave the ring.
        """
        assert self.quantise is not None
        share = self.noise.share(self.quantise.step)
        check_capacity(clients, self.limit, share * math.sqrt(clients))
        return self.limit + TAIL * share

    def noise_on_sums(self, clients: int) -> dict[str, float]:
        """Return release -> standard deviation of the noise on its sum over all `clients`."""
        return {n: self.noise.stddev_on_sum(clients) / w for n, w in self.clip.weights.items()
                if self.noise.stddev}

    def terms(self, dims: int) -> Terms:
        """Return what the price of a release of `dims` values needs beside the noise multiplier."""
        return self.noise.terms(dims, self.limit if self.quantise else None)

    def shape(self, release: Release) -> tuple[int, ...]:
        """Return the shape of one client's part of a release as it leaves the device."""
        return self.project.shape(release) if self.project else release.shape


def chain(steps: Sequence[Step]) -> Mechanism:
    """Build the mechanism of steps in their order. Raises ChainError where no guarantee would
    follow."""
    bound = Bound()
    for step in steps:
        bound = step.bound(bound)
    fixed = [step for step in steps if isinstance(step, Project | JointClip | Quantise)]
    # What is none of the three fixed steps is a noise: any type that answers as one.
    noises = [step for step in steps if not isinstance(step, Project | JointClip | Quantise)]
    found = {type(step): step for step in fixed}
    if len(found) != len(fixed) or len(noises) > 1:
        raise ChainError("each kind of step can occur once")
    clip = found.get(JointClip)
    if not isinstance(clip, JointClip) or not noises:
        raise ChainError("a chain needs a clip and a noise step (noise_multiplier 0 for none)")
    project, quantise = found.get(Project), found.get(Quantise)
    assert project is None or isinstance(project, Project)
    assert quantise is None or isinstance(quantise, Quantise)
    return Mechanism(project, clip, quantise, noises[0], bound)
