"""Prices of sampled releases where an accountant's orders or its grid end."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from privacy import FixedSize, Poisson, PricingError, calibrate
from privacy.accounting import epsilon, gaussian_epsilon, planned
from privacy.sampling import Sampling

FIXED, POISSON = FixedSize(30, 300), Poisson(0.1)


def price(z: float, sampling: Sampling, delta: float, accountant: Any = None) -> float:
    return epsilon(planned(z, 2, sampling, 300), delta, accountant)


@pytest.mark.parametrize(("sampling", "moves"), [(FIXED, 2), (POISSON, 1)])
def test_sampling_never_costs(sampling: Sampling, moves: float) -> None:
    """RDP of a fixed size has a floor of 0.0446 where its orders end, and falls to 0 behind it."""
    prices = [price(z, sampling, 1e-5) for z in (60.0, 400.0, 6000.0, 56000.0)]
    assert all(later < earlier for earlier, later in pairwise(prices))
    for z, found in zip((60.0, 400.0, 6000.0), prices, strict=False):
        assert 0 < found <= gaussian_epsilon(math.sqrt(2) * moves / z, 1e-5)


@pytest.mark.slow
def test_a_small_budget_takes_no_more_noise_than_without_sampling() -> None:
    """Replacing a member moves the sum by two norms, sampled or not."""
    z = calibrate(0.01, 1e-5, 2, FIXED, 300)
    alone = calibrate(0.01, 1e-5, 2, FIXED, 300, local=False, event=_everyone())
    assert z == pytest.approx(2 * alone, rel=2e-3)
    assert 0.005 < price(z, FIXED, 1e-5) <= 0.01


def _everyone() -> Any:
    from privacy.events import event_named

    return event_named("Gaussian")


@pytest.mark.parametrize("delta", [1e-14, 1e-15, 1e-18])
def test_a_delta_below_the_grid_is_priced_by_renyi(delta: float) -> None:
    assert price(2.2, POISSON, delta) <= price(2.2, POISSON, delta, "rdp") < 2.2
    assert price(2.2, POISSON, delta) > price(2.2, POISSON, 1e-10)


def test_prv_below_its_resolution_is_a_pricing_error() -> None:
    pytest.importorskip("opacus")
    with pytest.raises(PricingError, match="PRV has no price at delta 1e-18"):
        price(2.2, POISSON, 1e-18, "prv")


def test_a_price_that_jumps_over_what_was_asked_for_is_refused() -> None:
    """An event whose price falls from above the target to far below it, as a grid may have it."""
    from privacy.events import Event, event_named

    class Jumping(type(event_named("Gaussian"))):  # type: ignore[misc]
        name = "JumpingForTests"
        what = "a release whose price jumps"

        def mu(self, step: Any) -> float:
            return 4.0 if step.noise_multiplier < 3 else 1e-4

    from privacy import events

    jumping: Event = Jumping()
    events.register_event(jumping)
    try:
        with pytest.raises(PricingError, match="the price jumps"):
            calibrate(1.0, 1e-5, 2, FIXED, 300, event=jumping)
    finally:
        del events._EVENTS[jumping.name]
