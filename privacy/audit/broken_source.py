"""Sources that are broken on purpose: too small, used again, or keyed by what is no secret."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np

from privacy.randomness import SimulationSource, Source


@dataclass(frozen=True)
class Scaled:
    """Give normal numbers that are too small by a factor."""

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
class Remembering:
    """Give a label its first numbers in every later round as well."""

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


class KnownKey(SimulationSource):
    """Draw from a source that says it is keyed by the operating system, and is keyed by something
    else."""

    name = "csprng"

    @classmethod
    def of_8_bits(cls) -> KnownKey:
        """Key it by one byte of the operating system."""
        return cls(os.urandom(1)[0])


@dataclass(frozen=True)
class LateSource:
    """Draw from another source from the second round on."""

    first: Source
    later: Source

    @property
    def name(self) -> str:
        return self.first.name

    def raw(self, label: str, round_: int, size: int) -> bytes:
        return self._at(round_).raw(label, round_, size)

    def uniform(self, label: str, round_: int, size: int) -> np.ndarray:
        return self._at(round_).uniform(label, round_, size)

    def normal(self, label: str, round_: int, size: int) -> np.ndarray:
        return self._at(round_).normal(label, round_, size)

    def _at(self, round_: int) -> Source:
        return self.later if round_ & 0xFFFFFFFF else self.first
