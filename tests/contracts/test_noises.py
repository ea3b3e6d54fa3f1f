"""Every noise there is, and one of the tests' own, under the contract for users' noises."""

from __future__ import annotations

from typing import ClassVar

from privfedmm_example.laplace import LAPLACE

from privacy import noise_entry
from privacy.places import Place
from privfedmm.testing.noises import CLIENTS, NoiseContract


class TestCentralGaussian(NoiseContract):
    entry = noise_entry("gaussian")


class TestLocalGaussian(NoiseContract):
    entry = noise_entry("gaussian")
    place: ClassVar[Place] = Place.LOCAL


class TestDistributedGaussian(NoiseContract):
    entry = noise_entry("gaussian")
    place: ClassVar[Place] = Place.DISTRIBUTED
    shares = CLIENTS


class TestCentralLaplace(NoiseContract):
    entry = LAPLACE
