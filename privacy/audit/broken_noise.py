"""Noise that is broken on purpose: each fault changes what an honest noise draws, and no price."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.special import ndtr

from privacy.noise import Noise, Scale
from privacy.randomness import Source
from privacy.uploads import Dense, Uploads

# Pure noise [dims] in its own standard deviations, round, what it is added to, of whom and of which
# release it is -> what is added.
Change = Callable[[np.ndarray, int, np.ndarray, str], np.ndarray]


class AlteredNoise:
    """Change the draw of an honest noise before it is added; it is priced, and described, as whole.

    make: gives the change for this stack, with what it has to remember.
    """

    def __init__(self, honest: Noise, make: Callable[[], Change]) -> None:
        self._honest, self._change = honest, make()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)

    def on_clients(
        self, uploads: Uploads, scale: Scale, ids: np.ndarray, source: Source, round_: int
    ) -> Uploads:
        """Return uploads with the changed draw of each client's noise; as they are under central
        noise."""
        if self._honest.place.on_sum:
            return uploads
        rows = {n: part.dense() for n, part in uploads.items()}
        nothing: Uploads = {n: Dense(torch.zeros_like(x)) for n, x in rows.items()}
        drawn = self._honest.on_clients(nothing, scale, ids, source, round_)
        out = {}
        for name, exact in rows.items():
            noise = drawn[name].dense()
            changed = torch.stack([
                self._changed(noise[i], exact[i], scale, name, round_, f"{name} {ids[i]}")
                for i in range(len(ids))])
            out[name] = Dense(exact + changed)
        return out

    def on_sum(
        self, sums: Mapping[str, torch.Tensor], scale: Scale, source: Source, round_: int
    ) -> dict[str, torch.Tensor]:
        """Return sums with the changed draw of central noise; honest ones where clients add the
        noise."""
        if not self._honest.place.on_sum:
            return self._honest.on_sum(sums, scale, source, round_)
        nothing = {n: torch.zeros_like(x) for n, x in sums.items()}
        drawn = self._honest.on_sum(nothing, scale, source, round_)
        return {n: x + self._changed(drawn[n], x, scale, n, round_, n) for n, x in sums.items()}

    def _changed(
        self, noise: torch.Tensor, exact: torch.Tensor, scale: Scale, name: str, round_: int,
        whose: str,
    ) -> torch.Tensor:
        if scale.step:
            wide = self._honest.share(scale.step) or self._honest.stddev / scale.step
        else:
            wide = self._honest.stddev / scale.weights[name]
        flat = noise.double().numpy().reshape(-1) / wide
        out = self._change(
            flat, round_ & 0xFFFFFFFF, exact.double().numpy().reshape(-1), whose) * wide
        if not noise.is_floating_point():
            out = np.rint(out)
        return torch.from_numpy(np.ascontiguousarray(out)).to(noise.dtype).reshape(noise.shape)


class WeakNoise:
    """Add noise too small by a factor; it is priced, and described, as the whole one."""

    def __init__(self, honest: Noise, factor: float) -> None:
        self._honest = honest
        self._weak = honest.remade(honest.noise_multiplier * factor, honest.sensitivity)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)

    def on_clients(
        self, uploads: Uploads, scale: Scale, ids: np.ndarray, source: Source, round_: int
    ) -> Uploads:
        """Return what the devices send, with the smaller noise where they add any."""
        return self._weak.on_clients(uploads, scale, ids, source, round_)

    def on_sum(
        self, sums: Mapping[str, torch.Tensor], scale: Scale, source: Source, round_: int
    ) -> dict[str, torch.Tensor]:
        """Return the sums, with the smaller noise where it is added to them."""
        return self._weak.on_sum(sums, scale, source, round_)


def _masked(keep: Callable[[int], np.ndarray]) -> Callable[[], Change]:
    return lambda: lambda noise, round_, exact, whose: noise * keep(len(noise))


def _always(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[], Change]:
    return lambda: lambda noise, round_, exact, whose: change(noise)


def _antithetic() -> Change:
    kept: dict[str, np.ndarray] = {}

    def change(noise: np.ndarray, round_: int, exact: np.ndarray, whose: str) -> np.ndarray:
        if round_ % 2 == 0 or whose not in kept:
            kept[whose] = noise
            return noise
        return -kept[whose]

    return change


def _smeared(noise: np.ndarray) -> np.ndarray:
    return (noise + np.roll(noise, 1) + np.roll(noise, 2)) / math.sqrt(3)


def _sparse(noise: np.ndarray) -> np.ndarray:
    return noise * (np.arange(len(noise)) % 10 == 0) * math.sqrt(10)


def _some(size: int) -> np.ndarray:
    return np.random.default_rng(size).random(size) < 0.5


def without_users(every: int) -> Callable[[], Change]:
    """Leave out the noise of every so many-th user, from the eighth on: it is a client's own."""
    def change(noise: np.ndarray, round_: int, exact: np.ndarray, whose: str) -> np.ndarray:
        return noise * (int(whose.rpartition(" ")[2]) % every != 7)

    return lambda: change


def one_user_again() -> Change:
    """Give one user the noise of its first round in all others."""
    kept: dict[str, np.ndarray] = {}

    def change(noise: np.ndarray, round_: int, exact: np.ndarray, whose: str) -> np.ndarray:
        return kept.setdefault(whose, noise) if whose.endswith(" 7") else noise

    return change


def two_users_alike() -> Change:
    """Give one user the noise of another, round by round: their difference has none."""
    kept: dict[tuple[str, int], np.ndarray] = {}

    def change(noise: np.ndarray, round_: int, exact: np.ndarray, whose: str) -> np.ndarray:
        name, _, user = whose.rpartition(" ")
        if user == "7":
            kept[name, round_] = noise
        return kept.get((name, round_), noise) if user == "8" else noise

    return change


def _rolled() -> Change:
    kept: dict[str, np.ndarray] = {}

    def change(noise: np.ndarray, round_: int, exact: np.ndarray, whose: str) -> np.ndarray:
        return np.roll(kept.setdefault(whose, noise), 2 * round_)

    return change


def without_round(number: int) -> Callable[[], Change]:
    """Leave the noise out of one round."""
    return lambda: lambda noise, round_, exact, whose: noise * (round_ != number)


NOISES: Mapping[str, Callable[[], Change]] = {
    "half_without": _masked(lambda size: np.arange(size) >= size // 2),
    "odd_without": _masked(lambda size: np.arange(size) % 2 == 0),
    "random_half_without": _masked(_some),
    "first_release_without": without_round(0),
    "antithetic": _antithetic,
    "stream_shifted": _rolled,
    "tiled": _always(lambda x: np.resize(x[: max(len(x) // 50, 1)], len(x))),
    "mirrored": _always(lambda x: np.concatenate([x[: -(-len(x) // 2)], -x[: len(x) // 2]])),
    "over_root_2": _always(lambda x: x / math.sqrt(2)),
    "uniform": _always(lambda x: (2 * ndtr(x) - 1) * math.sqrt(3)),
    "truncated": _always(lambda x: np.clip(x, -2, 2)),
    "rank_one": _always(lambda x: np.full(len(x), x[0])),
    "smeared": _always(_smeared),
    "few_values": _always(np.rint),
    "sparse_wide": _always(_sparse),
    "nonzero_only": lambda: lambda noise, round_, exact, whose: noise * (exact != 0),
}
