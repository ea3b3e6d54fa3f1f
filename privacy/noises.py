"""Find noises by name, to build a chain from settings; one registration adds one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from privacy.bounds import ChainError
from privacy.discrete import DistributedNoise
from privacy.events import Event
from privacy.gaussian import GaussianNoise
from privacy.noise import Noise
from privacy.places import Place
from privacy.sampling import Sampling


class Build(Protocol):
    """Make a noise for one place."""

    def __call__(
        self, noise_multiplier: float, sensitivity: float, shares: int | None
    ) -> Noise:
        """Make the noise of a multiplier for a bound.

        shares: honest clients in every sum, where their shares make it.
        """
        ...


@dataclass(frozen=True)
class NoiseEntry:
    """Describe a noise that can be asked for by name.

    places: place -> how it is built there; what it costs, it says itself. reference: where its
    guarantee is proved, with the theorem. summary: what it is, in a few words.
    """

    name: str
    places: Mapping[str, Build]
    reference: str
    summary: str = ""

    def words(self) -> list[str]:
        """Return what it can, in words for a table: the places it is known at."""
        return [str(place) for place in self.places]

    def build(
        self, place: str, noise_multiplier: float, sensitivity: float, shares: int | None
    ) -> Noise:
        """Make the noise at a place. Raises ChainError for a place where this noise is not
        known."""
        if place not in self.places:
            raise ChainError(f"{self.name} noise is not known at place {place}; there is "
                             f"{', '.join(sorted(self.places))}")
        return self.places[place](noise_multiplier, sensitivity, shares)

    def event(self, place: str, sampling: Sampling, shares: int | None) -> Event:
        """Return what a release with it is charged as, for a calibration that comes before the
        noise.

        Raises ChainError for a place where this noise is not known.
        """
        return self.build(place, 1.0, 1.0, shares).event(sampling)


_NOISES: dict[str, NoiseEntry] = {}


def register_noise(entry: NoiseEntry) -> NoiseEntry:
    """Make a noise known by its name, and hand its entry back.

    Raises ValueError for a name that is taken.
    """
    if entry.name in _NOISES:
        raise ValueError(f"a noise is called {entry.name!r} already")
    _NOISES[entry.name] = entry
    return entry


def noise_entry(name: str) -> NoiseEntry:
    """Return the noise of a name. Raises ValueError, with the names there are, for an unknown
    one."""
    if name not in _NOISES:
        raise ValueError(f"no noise is called {name!r}; there are {', '.join(sorted(_NOISES))}")
    return _NOISES[name]


def _central(noise_multiplier: float, sensitivity: float, shares: int | None) -> Noise:
    return GaussianNoise(noise_multiplier, sensitivity, Place.CENTRAL)


def _local(noise_multiplier: float, sensitivity: float, shares: int | None) -> Noise:
    return GaussianNoise(noise_multiplier, sensitivity, Place.LOCAL)


def _distributed(noise_multiplier: float, sensitivity: float, shares: int | None) -> Noise:
    if shares is None:
        raise ChainError("distributed noise is made for a number of honest shares; state it")
    return DistributedNoise(noise_multiplier, sensitivity, shares)


register_noise(NoiseEntry(
    "gaussian", {Place.CENTRAL: _central, Place.LOCAL: _local, Place.DISTRIBUTED: _distributed},
    "Balle and Wang, ICML 2018, theorem 8; in shares: Kairouz, Liu and Steinke, ICML 2021",
    "normal noise of a standard deviation of multiplier times clip norm; in shares the discrete "
    "Gaussian"))
