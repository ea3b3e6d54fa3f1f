"""The contract of a noise: subclass it in your tests and give its entry and place."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy import stats

from privacy import (
    Budget,
    BudgetError,
    ChainError,
    Dense,
    Everyone,
    JointClip,
    Ledger,
    Mechanism,
    PlainAggregator,
    PrivacyStack,
    Quantise,
    Release,
    RingAggregator,
    SimulationSource,
    calibrate,
    chain,
    epsilon,
    event_named,
    state,
)
from privacy.accounting import planned
from privacy.noise import Noise
from privacy.noises import NoiseEntry
from privacy.places import Place

CLIENTS, DIMS, DELTA, ROUNDS, BUDGET = 12, 6, 1e-5, 3, 2.0
_DRAWS = 4000
_RELEASE = Release("x", (DIMS,))


class NoiseContract:
    """Checks what every noise must do, at a place where it is known.

    Set `entry` and `place` in a subclass whose name begins with Test. shares: the number of honest
    clients in every sum, where devices make the noise together; such a noise is played on a grid.
    """

    entry: ClassVar[NoiseEntry]
    place: ClassVar[Place] = Place.CENTRAL
    shares: ClassVar[int | None] = None

    def multiplier(self) -> float:
        """Calibrate the multiplier for three rounds at epsilon 2, delta 1e-5."""
        noise = self.entry.build(self.place, 1.0, 1.0, self.shares)
        return calibrate(BUDGET, DELTA, ROUNDS, Everyone(), CLIENTS,
                         event=noise.event(Everyone()), terms=noise.terms(DIMS, self._limit()))

    def mechanism(self, multiplier: float) -> Mechanism:
        """Return a clip at 1 and the noise, with a grid between them where it needs one."""
        clip = JointClip(1.0, {"x": 1.0})
        if self.shares is None:
            return chain([clip, self.entry.build(self.place, multiplier, 1.0, None)])
        grid = Quantise(2.0**-10, DIMS)
        bound = grid.limit(1.0) * grid.step
        return chain([clip, grid, self.entry.build(self.place, multiplier, bound, self.shares)])

    def stack(self, multiplier: float, budget: Budget | None) -> PrivacyStack:
        """Return a stack of one release around the mechanism."""
        return PrivacyStack(
            (_RELEASE,), Ledger((), budget), source=SimulationSource(5),
            aggregator=PlainAggregator() if self.shares is None else RingAggregator(),
            mechanism=self.mechanism(multiplier))

    def _limit(self) -> float | None:
        return None if self.shares is None else Quantise(2.0**-10, DIMS).limit(1.0)

    def test_it_says_what_it_is(self) -> None:
        """Check that the noise has a reference, words for a statement, and an event with a price.
        """
        noise = self.noise(1.0)
        assert self.entry.reference.strip() and self.entry.summary.strip() and self.entry.words()
        assert noise.kind.strip() and noise.reason.strip()
        assert noise.trust(False).strip() and noise.place is Place(self.place)
        event = noise.event(Everyone())
        assert event_named(event.name) is event and event.accountants

    def noise(self, multiplier: float) -> Noise:
        """Return the noise of the mechanism."""
        return self.mechanism(multiplier).noise

    def test_a_chain_without_a_clip_or_with_two_noises_cannot_be_built(self) -> None:
        """Check that a chain needs one clip, at the bound of the noise, and one noise.

        Without a clip nothing would bound what it hides; a second draw is a second release.
        """
        noise = self.entry.build(self.place, 8.0, 1.0, self.shares)
        with pytest.raises(ChainError):
            chain([noise])
        with pytest.raises(ChainError):
            chain([JointClip(1.0, {"x": 1.0}), noise, noise])
        with pytest.raises(ChainError):
            chain([JointClip(2.0, {"x": 1.0}), noise])

    def test_its_spread_on_a_sum_is_the_stated_one(self) -> None:
        """Check the standard deviation of 4,000 noisy values of nothing, within 10 %.

        That is more than five deviations of the estimate for a noise whose kurtosis is at most 6
        (Laplace).
        """
        stack = self.stack(self.multiplier(), None)
        drawn = np.concatenate([self._sum(stack, t) for t in range(_DRAWS // DIMS + 1)])
        mechanism = stack.mechanism
        assert mechanism is not None
        stated = mechanism.noise_on_sums(CLIENTS)["x"]
        assert abs(drawn.std() / stated - 1) < 0.1
        assert abs(drawn.mean()) < 6 * stated / np.sqrt(len(drawn))

    def test_its_draws_are_of_the_distribution_that_it_states(self) -> None:
        """Check 4,000 draws, as normal numbers, for their width and shape; false alarm 2e-6.

        A noise that states no distribution has nothing to hold here.
        """
        mechanism = self.mechanism(self.multiplier())
        noise, scale = mechanism.noise, mechanism.scale
        kind = torch.int32 if scale.step else torch.float32
        nothing, source = torch.zeros(1, _DRAWS, dtype=kind), SimulationSource(6)
        if noise.place.on_sum:
            drawn, wide = noise.on_sum({"x": nothing}, scale, source, 0)["x"], noise.stddev
        else:
            sent = noise.on_clients({"x": Dense(nothing)}, scale, np.array([3]), source, 0)
            drawn, wide = sent["x"].dense(), mechanism.own_stddev
        values = drawn.double().numpy().reshape(-1) * (scale.step or 1.0) / wide
        normal = noise.as_normal(values)
        if normal is not None:
            assert stats.kstest(normal, "norm").pvalue > 1e-6
            squares = float(np.square(normal).sum())
            assert 1e-6 < stats.chi2.cdf(squares, _DRAWS) < 1 - 1e-6

    def test_the_budget_is_met_and_not_passed(self) -> None:
        """Check that three rounds spend nearly all of the budget, and that a fourth is refused."""
        z = self.multiplier()
        stack = self.stack(z, Budget(BUDGET, DELTA))
        for round_ in range(ROUNDS):
            self._sum(stack, round_)
        spent = stack.ledger.spent(DELTA)
        assert 0.9 * BUDGET < spent <= BUDGET * (1 + 1e-6)
        with pytest.raises(BudgetError):
            self._sum(stack, ROUNDS)
        said = state(stack, Budget(BUDGET, DELTA), ROUNDS, CLIENTS, DIMS)
        assert said.epsilon == pytest.approx(spent)
        assert (said.epsilon_vs_server is not None) == self.noise(z).against_server

    def test_more_noise_costs_less(self) -> None:
        """Check that the price falls with the multiplier, and grows with the rounds."""
        noise = self.noise(8.0)
        event, terms = noise.event(Everyone()), noise.terms(DIMS, self._limit())

        def price(z: float, rounds: int) -> float:
            return epsilon(planned(z, rounds, Everyone(), CLIENTS, event=event, terms=terms), DELTA)

        assert price(8.0, 2) < price(6.0, 2) and price(8.0, 1) < price(8.0, 2)

    def _sum(self, stack: PrivacyStack, round_: int) -> np.ndarray:
        cohort = stack.draw(CLIENTS, round_)
        stack.admit(cohort, CLIENTS)
        gate = stack.open(cohort)
        gate.submit(cohort.ids, {"x": Dense(torch.zeros(CLIENTS, DIMS))})
        totals, _ = stack.finish(gate.close(), cohort, CLIENTS)
        return totals.sums["x"].numpy().reshape(-1)
