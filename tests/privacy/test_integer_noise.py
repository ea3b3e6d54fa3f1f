"""Gaussian noise on integers: what a release may tell by its last bits, and what that costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from privacy import Dense, GaussianNoise, Scale, SimulationSource
from privacy.gaussian import grid_of

WEIGHTS = {"a": 3.0, "b": 0.1}


@given(sensitivity=st.floats(1e-6, 1e6), dims=st.integers(1, 10**7))
def test_the_grid_is_a_power_of_two_and_costs_little(sensitivity: float, dims: int) -> None:
    step = grid_of(sensitivity, dims)
    assert math.frexp(step)[0] == 0.5
    share = step * math.sqrt(dims) / sensitivity
    assert share <= 2.0**-13 < 2 * share * (1 + 1e-9)


@given(st.data())
def test_rounded_neighbours_are_as_near_as_stated(data: st.DataObject) -> None:
    """The bound that the noise is made for, on rounded vectors whose difference has norm C."""
    dims = data.draw(st.integers(1, 300))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    one = rng.normal(size=dims) * 10.0 ** rng.integers(-3, 4)
    apart = rng.normal(size=dims)
    apart *= 2.0 / np.linalg.norm(apart)
    step = grid_of(2.0, dims)
    distance = np.linalg.norm(np.rint(one / step) - np.rint((one - apart) / step)) * step
    assert distance <= 2.0 * (1 + 2.0**-13) * (1 + 1e-9)


def released(noise: GaussianNoise, value: float, place: str) -> np.ndarray:
    """The same draw on sums, or on one client's vector, that hold the value everywhere."""
    source = SimulationSource(3)
    if place == "central":
        sums = {n: torch.full((40,), value) for n in WEIGHTS}
        out = noise.on_sum(sums, Scale(WEIGHTS), source, 0)
        return np.concatenate([out[n].double().numpy() * WEIGHTS[n] for n in WEIGHTS])
    rows = {n: Dense(torch.full((1, 40), value)) for n in WEIGHTS}
    parts = noise.on_clients(rows, Scale(WEIGHTS), np.array([7]), source, 0)
    return np.concatenate([parts[n].dense()[0].double().numpy() * WEIGHTS[n] for n in WEIGHTS])


@pytest.mark.parametrize("place", ["central", "local"])
def test_last_bits_tell_nothing_of_what_is_under_the_noise(place: str) -> None:
    """Inputs that differ by less than the grid give the same bits; before, they gave others, and
    by which floating-point numbers a sum can take one could tell what it was (Mironov, CCS 2012).
    """
    noise = GaussianNoise(1.0, 1.0, place=place)  # type: ignore[arg-type]
    step = grid_of(1.0, 80)
    base = released(noise, 0.0, place)
    for tiny in (1e-7, step / 40, -step / 40):
        assert (released(noise, tiny, place) == base).all()
    floating = SimulationSource(3).normal("a", 0, 40)
    assert (floating + 1e-9 != floating).all(), "teeth: a floating-point sum differs"
    # On the grid but for the rounding to float32 afterwards, which is the same for all inputs.
    off = np.abs(base / step - np.rint(base / step)) * step
    assert (off <= np.abs(base) * 2.0**-23).all()


@pytest.mark.parametrize("place", ["central", "local"])
def test_the_noise_is_as_wide_as_stated_and_a_little_wider(place: str) -> None:
    """20 x 80 draws: the variance within 5 standard errors of (1 + 2^-12)^2."""
    noise = GaussianNoise(4.0, 0.5, place=place)  # type: ignore[arg-type]
    drawn = []
    for round_ in range(250):
        sums = {n: torch.zeros(40) for n in WEIGHTS}
        if place == "central":
            out = noise.on_sum(sums, Scale(WEIGHTS), SimulationSource(round_), 0)
            drawn.append(np.concatenate([out[n].numpy() * WEIGHTS[n] for n in WEIGHTS]))
        else:
            rows = {n: Dense(torch.zeros(1, 40)) for n in WEIGHTS}
            parts = noise.on_clients(rows, Scale(WEIGHTS), np.array([1]), SimulationSource(round_),
                                     0)
            drawn.append(np.concatenate([parts[n].dense()[0].numpy() * WEIGHTS[n]
                                         for n in WEIGHTS]))
    values = np.concatenate(drawn)
    assert abs(values.var() / (2.0 * (1 + 2.0**-12)) ** 2 - 1) < 5 * math.sqrt(2 / len(values))
