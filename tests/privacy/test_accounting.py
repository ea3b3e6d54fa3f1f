"""Prices against closed forms, known values and libraries that were not used to compute them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld

from privacy import (
    Charge,
    Everyone,
    FixedSize,
    Ledger,
    LedgerError,
    Poisson,
    PricingError,
    Sampling,
    Shares,
    calibrate,
    epsilon,
)
from privacy.accounting import gaussian_delta, gaussian_epsilon, planned


@dataclass(frozen=True)
class Entry:
    round: int
    event: str
    noise_multiplier: float | None
    sampling_rate: float = 1.0
    population: int = 1000
    attempt: int = 0
    shares: int | None = None
    dims: int | None = None
    limit: float | None = None
    steps: int = 1


@pytest.mark.parametrize(
    ("rounds", "expected"), [(10, 6.305), (20, 8.917), (50, 14.098), (100, 19.938)]
)
def test_known_noise_multipliers(rounds: int, expected: float) -> None:
    """Origin: get_sigma_gaussian(2, 1e-5) * sqrt(T) of dp_accounting 0.6."""
    assert calibrate(2.0, 1e-5, rounds, Everyone(), 943) == pytest.approx(expected, abs=6e-4)
    library = dp_accounting.get_sigma_gaussian(2.0, 1e-5) * math.sqrt(rounds)
    assert calibrate(2.0, 1e-5, rounds, Everyone(), 943) == pytest.approx(library, rel=1e-6)


@pytest.mark.slow
def test_fifty_random_ledgers_cost_what_pld_says() -> None:
    """Full participation: closed form against PLD. Poisson: one PLD composed event by event."""
    rng = np.random.default_rng(5)
    for case in range(50):
        rate = float(rng.uniform(0.02, 0.4)) if case % 4 == 0 else 1.0
        rounds = int(rng.integers(1, 30 if rate == 1 else 6))
        event = "Gaussian" if rate == 1 else "PoissonSampledGaussian"
        values = rng.uniform(1.5, 12.0, size=2)
        entries, independent = [], pld.PLDAccountant()
        for number in range(rounds):
            z = float(values[number % 2])
            entries.append(Entry(number, event, z, rate))
            gaussian = dp_accounting.GaussianDpEvent(z)
            independent.compose(
                gaussian if rate == 1 else dp_accounting.PoissonSampledDpEvent(rate, gaussian))
        delta = float(10 ** rng.uniform(-7, -4))
        assert epsilon(entries, delta) == pytest.approx(
            independent.get_epsilon(delta), abs=1e-3), (case, rounds, rate, values)


@pytest.mark.slow
def test_calibration_never_overshoots() -> None:
    rng = np.random.default_rng(6)
    for case in range(12):
        sampling: Sampling = Everyone() if case % 6 else Poisson(float(rng.uniform(0.05, 0.5)))
        target, rounds = float(rng.uniform(0.2, 9)), int(rng.integers(1, 40))
        z = calibrate(target, 1e-5, rounds, sampling, 1000)
        spent = epsilon(planned(z, rounds, sampling, 1000), 1e-5)
        assert target * 0.99 < spent <= target


def test_two_accountants_of_others_bracket_ours() -> None:
    entries = [Entry(t, "PoissonSampledGaussian", 2.25, 0.1) for t in range(100)]
    ours = epsilon(entries, 1e-5)
    assert ours == pytest.approx(2.0, abs=0.01)
    assert epsilon(entries, 1e-5, "prv") == pytest.approx(ours, abs=0.02)
    assert ours < epsilon(entries, 1e-5, "rdp") < 1.15 * ours


def test_releases_of_one_cohort_are_priced_together() -> None:
    """Origin: shared measurement, q = .1, z = (2.7, 4.0), T = 100: joint 2.012, separate 1.898."""
    together = [Entry(t, "PoissonSampledGaussian", z, 0.1) for t in range(100) for z in (2.7, 4.0)]
    assert epsilon(together, 1e-5) == pytest.approx(2.012, abs=0.01)
    apart = [Entry(2 * t + k, "PoissonSampledGaussian", z, 0.1)
             for t in range(100) for k, z in enumerate((2.7, 4.0))]
    assert epsilon(apart, 1e-5) < epsilon(together, 1e-5)


def test_replacing_a_user_doubles_mu() -> None:
    local = epsilon([Entry(0, "LocalGaussian", 8.0)], 1e-5)
    assert local == pytest.approx(epsilon([Entry(0, "Gaussian", 4.0)], 1e-5), rel=1e-12)
    assert calibrate(2.0, 1e-5, 20, Everyone(), 943, local=True) == pytest.approx(
        2 * calibrate(2.0, 1e-5, 20, Everyone(), 943), rel=1e-6)


@pytest.mark.slow
def test_fixed_size_is_priced_by_rdp_under_replacement_and_by_nothing_else() -> None:
    """Origin: n = 1000, b = 100, T = 100, multiplier 2.25 of the doubled sensitivity: 4.61."""
    entries = [Entry(t, "FixedSizeSampledGaussian", 4.5, 0.1) for t in range(100)]
    assert epsilon(entries, 1e-5) == pytest.approx(4.61, abs=0.01)
    for name in ("pld", "prv", "closed_form"):
        with pytest.raises(PricingError):
            epsilon(entries, 1e-5, name)
    z = calibrate(2.0, 1e-5, 10, FixedSize(100, 1000), 1000)
    assert epsilon(planned(z, 10, FixedSize(100, 1000), 1000), 1e-5) <= 2.0


def test_what_has_no_price_is_refused_and_what_has_no_noise_is_infinite() -> None:
    with pytest.raises(PricingError, match="no price"):
        epsilon([Entry(0, "Laplace", 1.0)], 1e-5)
    with pytest.raises(PricingError, match="without noise"):
        epsilon([Entry(0, "Gaussian", 0.0)], 1e-5)
    with pytest.raises(PricingError, match="mixes"):
        epsilon([Entry(0, "Gaussian", 1.0), Entry(0, "PoissonSampledGaussian", 1.0, 0.1)], 1e-5)
    assert epsilon([Entry(0, "Gaussian", 9.0), Entry(1, "NonPrivate", None)], 1e-5) == math.inf
    assert epsilon([], 1e-5) == 0.0
    with pytest.raises(PricingError, match="positive"):
        calibrate(-1.0, 1e-5, 1, Everyone(), 10)
    with pytest.raises(PricingError, match="full participation"):
        calibrate(1.0, 1e-5, 1, Poisson(0.1), 10, local=True)


@pytest.mark.parametrize("mu", [0.05, 0.5, 3.0, 20.0])
def test_epsilon_inverts_delta(mu: float) -> None:
    at = gaussian_epsilon(mu, 1e-5)
    assert gaussian_delta(at, mu) == pytest.approx(1e-5, rel=1e-6)


def test_aborted_attempts_cost_as_much_as_releases() -> None:
    ledger = Ledger()
    statuses: tuple[Literal["aborted", "released"], ...] = ("aborted", "released")
    for status in statuses:
        ledger.charge(Charge(round=0, name="joint", event="Gaussian", noise_multiplier=4.0,
                      clip_norm=1.0, sampling_rate=1.0, population=10, cohort=10,
                      status=status))
    assert [e.attempt for e in ledger.entries] == [0, 1]
    assert ledger.spent(1e-5) == pytest.approx(
        epsilon([Entry(0, "Gaussian", 4.0), Entry(1, "Gaussian", 4.0)], 1e-5))
    with pytest.raises(LedgerError, match="malformed"):
        Ledger.from_json([{"round": 0}])


SHARES = Shares(800, 50_000, 4100.0)


def test_distributed_noise_costs_no_less_than_one_gaussian() -> None:
    """The Renyi price of the sum of shares lies above the exact price of one Gaussian with the same
    multiplier, and within what the conversion from Renyi to epsilon costs (9 per cent)."""
    for z, rounds in ((2.0, 1), (3.0, 2), (8.0, 10), (9.61, 20)):
        exact = gaussian_epsilon(math.sqrt(rounds) / z, 1e-5)
        shared = epsilon(planned(z, rounds, Everyone(), 943, shares=SHARES), 1e-5)
        assert exact < shared < 1.12 * exact


def test_distributed_calibration_reproduces_the_published_accountant() -> None:
    """z = 9.61 at epsilon 2, delta 1e-5, 20 rounds, 943 clients; origin: the formulas of
    google-research/federated distributed_dp/accounting_utils.py at 20 bits."""
    z = calibrate(2.0, 1e-5, 20, Everyone(), 943, shares=SHARES)
    assert z == pytest.approx(9.61, abs=0.01)
    assert epsilon(planned(z, 20, Everyone(), 943, shares=SHARES), 1e-5) <= 2.0


def test_coarse_shares_cost_more() -> None:
    """Where a share is about one step wide, tau is felt; the price never falls below the limit."""
    prices = [epsilon(planned(3.0, 2, Everyone(), 943, shares=Shares(800, 50_000, limit)), 1e-5)
              for limit in (6.0, 12.0, 4100.0)]
    assert prices[0] > 1.5 * prices[2] and prices[1] >= prices[2]


@pytest.mark.parametrize("accountant", ["pld", "prv", "closed_form"])
def test_no_other_accountant_prices_shares(accountant: str) -> None:
    with pytest.raises(PricingError):
        epsilon(planned(3.0, 2, Everyone(), 943, shares=SHARES), 1e-5,
                accountant)  # type: ignore[arg-type]


def test_distributed_noise_needs_full_participation() -> None:
    with pytest.raises(PricingError, match="full participation"):
        calibrate(2.0, 1e-5, 2, Poisson(0.1), 943, shares=SHARES)
