"""Bounds on epsilon: equal to an independent implementation, valid, and with teeth."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privacy.accounting import gaussian_epsilon
from privacy.audit import (
    AuditError,
    AuditResult,
    judge,
    mean_shift,
    one_run_epsilon,
    repeated_epsilon,
    repeated_scores_epsilon,
)
from privacy.audit.counts import gaussian_run_epsilon, gaussian_run_mu, one_run_p_value
from privacy.audit.scores import right_guesses

DELTA, ALPHA = 1e-5, 0.05
MU = 0.5021  # epsilon 2 at DELTA


def draws(seed: int, canaries: int, mu: float, times: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores of a Gaussian mechanism, and coins."""
    rng = np.random.default_rng(seed)
    coins = rng.random((times, canaries)) < 0.5
    scores = rng.normal(size=coins.shape) + mu * coins
    return list(zip(scores, coins, strict=True))


def results(seed: int, canaries: int, mu: float, claim: float, times: int) -> list[AuditResult]:
    return [judge(s, c, gaussian_epsilon(claim, DELTA), DELTA, ALPHA)
            for s, c in draws(seed, canaries, mu, times)]


def test_golden_values(golden: Path) -> None:
    rows = json.loads((golden / "one_run_bounds.json").read_text(encoding="utf-8"))
    assert len(rows) == 100
    assert sum(r["one_run"] > 0 for r in rows) > 80
    for r in rows:
        counts = (r["m"], r["guesses"], r["correct"], r["delta"], r["alpha"])
        assert one_run_epsilon(*counts) == pytest.approx(r["one_run"], abs=1e-4)
        assert gaussian_run_epsilon(*counts) == pytest.approx(r["fdp"], abs=1e-4)


def test_p_value_from_the_definition() -> None:
    """Theorem 5.2 with sums of binomial probabilities, term by term."""
    m, r, v, eps, delta = 40, 20, 16, 0.7, 1e-3
    q = 1 / (1 + math.exp(-eps))
    mass = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    beta = sum(mass[v:])
    slope = max(sum(mass[v - i : v]) / i for i in range(1, v + 1))
    assert one_run_p_value(m, r, v, eps, delta) == pytest.approx(beta + 2 * m * delta * slope)


def test_mean_shift_limits_are_those_of_the_noncentral_t() -> None:
    """At each limit, the exact distribution puts alpha (alpha / 2) beyond the observed t."""
    for scores, coins in draws(3, 100, 1.0, 10) + draws(4, 400, 3.0, 10):
        shift = mean_shift(scores, coins, ALPHA)
        n = math.sqrt(coins.sum() * (~coins).sum() / len(coins))
        t, f = shift.mu * n, len(coins) - 2
        assert stats.nct.sf(t, f, shift.mu_lower * n) == pytest.approx(ALPHA, abs=1e-3)
        assert stats.nct.sf(t, f, shift.low * n) == pytest.approx(ALPHA / 2, abs=1e-3)
        assert stats.nct.cdf(t, f, shift.high * n) == pytest.approx(ALPHA / 2, abs=1e-3)


def assert_valid(found: list[AuditResult], truth: float) -> dict[str, float]:
    """No bound is above the truth more often than alpha; false alarm of this check: 1e-4 each."""
    wrong = {}
    for name in ("mean_shift", "one_run", "gaussian_one_run"):
        over = sum(r.bounds[name] > truth for r in found if name in r.bounds)
        wrong[name] = over / len(found)
        assert stats.binom.sf(over - 1, len(found), ALPHA) > 1e-4, (name, over, len(found))
    return wrong


@pytest.mark.parametrize(("canaries", "mu"), [(100, 0.0), (400, MU)])
def test_bounds_are_valid(canaries: int, mu: float) -> None:
    assert_valid(results(11, canaries, mu, MU, 60), gaussian_epsilon(mu, DELTA) if mu else 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("canaries", [40, 100, 400, 1000])
@pytest.mark.parametrize("mu", [0.0, MU, 1.0, 2.5])
def test_bounds_are_valid_in_500_runs(canaries: int, mu: float) -> None:
    found = results(12, canaries, mu, MU, 500)
    wrong = assert_valid(found, gaussian_epsilon(mu, DELTA) if mu else 0.0)
    print(f"m={canaries} mu={mu}: above the truth {wrong}")


def test_a_guess_rule_that_looks_at_the_coins_is_not_covered() -> None:
    """The check above has teeth: the best of many cut-offs by success is above the truth often."""
    over = 0
    for scores, coins in draws(5, 200, 0.0, 200):
        # A p-value below alpha at epsilon 0 is a bound above 0.
        best = min(one_run_p_value(200, k, right_guesses(scores, coins, k), 0.0, DELTA)
                   for k in range(4, 200, 4))
        over += best < ALPHA
    assert stats.binom.sf(over - 1, 200, ALPHA) < 1e-4


def test_power() -> None:
    """Claimed epsilon 2, m = 400: noise halved, noise off, and correct noise."""
    halved = [mean_shift(s, c, ALPHA) for s, c in draws(6, 400, 2 * MU, 100)]
    assert sum(s.normal and s.mu_lower > MU for s in halved) >= 95
    off = results(7, 400, 400 * MU, MU, 10)
    assert all(set(r.bounds) == set(r.violations) and not r.passed for r in off)
    assert all("FAILED" in r.verdict for r in off)
    correct = results(8, 400, MU, MU, 40)
    assert stats.binom.sf(sum(not r.passed for r in correct) - 1, 40, 0.05) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("canaries", [100, 400, 1000])
def test_power_table(canaries: int) -> None:
    for factor in (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0):
        found = results(9, canaries, factor * MU, MU, 200)
        rates = {name: sum(name in r.violations for r in found) / 200
                 for name in ("mean_shift", "gaussian_one_run", "one_run")}
        alarms = sum(not r.passed for r in found) / 200
        print(f"m={canaries} noise / {factor}: {rates} any {alarms}")
        if factor == 1.0:
            assert alarms <= 0.1
        if factor >= 4:
            assert alarms == 1.0


def test_scores_that_are_not_normal_go_without_mean_shift() -> None:
    rng = np.random.default_rng(1)
    coins = rng.random(400) < 0.5
    result = judge(rng.standard_cauchy(400) + coins, coins, 2.0, DELTA, ALPHA)
    assert "mean_shift" not in result.bounds
    assert "not normal" in result.missing["mean_shift"]
    assert set(result.bounds) == {"one_run", "gaussian_one_run"}
    assert json.dumps(result.to_json())


def test_a_mechanism_that_is_not_gaussian_gets_the_general_bound_only() -> None:
    scores, coins = draws(2, 100, 1.0, 1)[0]
    result = judge(scores, coins, 2.0, DELTA, ALPHA, gaussian=False)
    assert set(result.bounds) == {"one_run"}
    assert result.estimate is None
    assert set(result.missing) == {"mean_shift", "gaussian_one_run"}


def test_repeated_runs_of_randomised_response() -> None:
    """ln 3-DP: said truthfully with probability 3/4. 300 audits; false alarm of the check 1e-4."""
    rng = np.random.default_rng(4)
    truth, over, found = math.log(3), 0, []
    for _ in range(300):
        inside, outside = (rng.random((2, 400)) < [[0.75], [0.25]]).astype(float)
        found.append(repeated_scores_epsilon(inside, outside, 0.0, ALPHA))
        over += found[-1] > truth
    assert stats.binom.sf(over - 1, 300, ALPHA) > 1e-4
    assert np.median(found) > 0.5 * truth
    # Against a smaller claim it alarms.
    assert np.mean(np.array(found) > 0.3) > 0.95


def test_repeated_runs_known_limit() -> None:
    """No errors in n runs a side: ln(TPR_L / FPR_U) with 1 - (alpha / 2)^(1/n)."""
    upper = 1 - (ALPHA / 2) ** (1 / 200)
    assert repeated_epsilon(200, 200, 0, 200, 0.0, ALPHA) == pytest.approx(
        math.log((1 - upper) / upper))
    assert repeated_epsilon(0, 200, 200, 200, 0.0, ALPHA) == pytest.approx(0.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 300), st.data())
def test_bounds_move_the_right_way(canaries: int, data: st.DataObject) -> None:
    guesses = data.draw(st.integers(1, canaries))
    correct = data.draw(st.integers(0, guesses - 1))
    for bound in (one_run_epsilon, gaussian_run_epsilon):
        low = bound(canaries, guesses, correct, DELTA, ALPHA)
        assert 0 <= low <= bound(canaries, guesses, correct + 1, DELTA, ALPHA) + 1e-6
        assert bound(canaries, guesses, correct, DELTA, ALPHA / 5) <= low + 1e-6
    assert gaussian_run_mu(canaries, guesses, correct, ALPHA) >= 0


@pytest.mark.parametrize("counts", [(10, 11, 5), (10, 5, 6), (10, 0, 0), (10, 5, -1)])
def test_impossible_counts(counts: tuple[int, int, int]) -> None:
    with pytest.raises(AuditError, match="counts must satisfy"):
        one_run_epsilon(*counts, DELTA, ALPHA)
    with pytest.raises(AuditError, match="counts must satisfy"):
        gaussian_run_epsilon(*counts, DELTA, ALPHA)


def test_bad_levels_and_scores() -> None:
    scores, coins = draws(2, 20, 0.0, 1)[0]
    with pytest.raises(AuditError, match="alpha"):
        judge(scores, coins, 2.0, DELTA, 0.7)
    with pytest.raises(AuditError, match="delta"):
        judge(scores, coins, 2.0, 1.5, ALPHA)
    with pytest.raises(AuditError, match="no claim"):
        judge(scores, coins, math.inf, DELTA, ALPHA)
    with pytest.raises(AuditError, match="not finite"):
        judge(np.where(coins, np.nan, scores), coins, 2.0, DELTA, ALPHA)
    with pytest.raises(AuditError, match="use more"):
        judge(scores, np.ones(20, dtype=bool), 2.0, DELTA, ALPHA)
    with pytest.raises(AuditError, match="guesses on"):
        judge(scores, coins, 2.0, DELTA, ALPHA, guesses=21)
    with pytest.raises(AuditError, match="at least four"):
        repeated_scores_epsilon(scores[:3], scores, DELTA, ALPHA)
