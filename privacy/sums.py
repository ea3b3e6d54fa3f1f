"""Build a whole stack from the figures of a promise, for models that need private sums alone.

Every figure is stated by the caller; none is inferred from data and none has a default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from privacy.accounting import calibrate
from privacy.aggregator import Aggregator
from privacy.bounds import ChainError
from privacy.errors import ProtocolError, RoundAborted, RoundNotBegun
from privacy.ledger import Ledger
from privacy.noises import noise_entry
from privacy.places import Place
from privacy.quantise import Quantise
from privacy.randomness import Source
from privacy.releases import Release, turns
from privacy.sampling import Sampling
from privacy.stack import PrivacyStack, Totals, Vault
from privacy.statement import Statement, state
from privacy.survivors import Survivors
from privacy.transforms import JointClip, Step, chain
from privacy.uploads import UploadError, Uploads


@dataclass(frozen=True)
class PrivateSums:
    """Sum over clients 0..population-1, for `rounds` rounds, under one budget."""

    stack: PrivacyStack
    rounds: int
    population: int

    def statement(self) -> Statement:
        """State what the rounds promise together, before the first of them."""
        return state(self.stack, self.stack.ledger.budget, self.rounds, self.population,
                     self.stack.values(0))

    def round(self, number: int, uploads: Callable[[np.ndarray], Uploads]) -> Totals:
        """Draw the cohort, take its uploads, and release their noisy sums.

        uploads: gives the parts of clients ids [cohort] int64, by release name, each [cohort,
        *shape]. Raises BudgetError, before anything is uploaded, for a round that would overspend,
        UploadError for uploads that were not declared and for a released round without a vault,
        RoundAborted where the protocol failed; a round that failed after uploads is charged.
        """
        cohort = self.stack.draw(self.population, number)
        self.stack.admit(cohort, self.population)
        gate = self.stack.open(cohort)
        parts = uploads(cohort.ids) if len(cohort.ids) else None
        try:
            if parts is not None:
                gate.submit(cohort.ids, parts)
            sums = gate.close()
        except RoundNotBegun:
            raise
        except (UploadError, RoundAborted):
            self.stack.abort(cohort, self.population)
            raise
        except ProtocolError as error:
            # Refused by a party in the middle of the round: clients have uploaded by then.
            self.stack.abort(cohort, self.population)
            raise RoundAborted(str(error)) from error
        return self.stack.finish(sums, cohort, self.population)[0]


def private_sums(
    releases: Sequence[Release],
    *,
    weights: Mapping[str, float],
    clip_norm: float,
    levels: int | None,
    noise: str,
    place: str,
    shares: int | None,
    ledger: Ledger,
    rounds: int,
    population: int,
    sampling: Sampling,
    aggregator: Aggregator,
    survivors: Survivors,
    source: Source,
    vault: Vault | None,
) -> PrivateSums:
    """Clip, grid and noise, calibrated so that `rounds` rounds spend the ledger's budget.

    weights: release name -> its weight in the joint vector, which is clipped to L2 norm clip_norm.
    levels: steps of the grid in a clip norm, where the aggregator sums integers; None: no grid.
    noise: a name of `noise_entry`; place: where it is added; shares: honest clients in every sum,
    for distributed noise only. vault: keeps released sums, so that a round can be played again;
    None: it cannot.

    Raises ValueError for an unknown noise and a ledger without a budget, ChainError for steps from
    which no guarantee follows, PricingError where no noise reaches the budget, CapacityError where
    the sums could leave the ring.
    """
    if ledger.budget is None:
        raise ValueError("private sums need a budget: give the ledger one")
    if (shares is not None) != Place(place).in_shares:
        raise ChainError("shares are those of distributed noise: state them there, and only there")
    if (levels is not None) != aggregator.hides_clients:
        raise ChainError("levels are those of an aggregator that sums integers: state them there, "
                         "and only there")
    dims = max(_values(releases, t) for t in turns(releases))
    steps: list[Step] = [JointClip(clip_norm, weights)]
    bound, limit = clip_norm, None
    if levels is not None:
        grid = Quantise(clip_norm / levels, dims)
        limit = grid.limit(clip_norm)
        bound = limit * grid.step
        steps.append(grid)
    entry = noise_entry(noise)
    whole = entry.build(place, 1.0, bound, shares)
    multiplier = calibrate(
        ledger.budget.epsilon, ledger.budget.delta, rounds, sampling, population,
        event=whole.event(sampling), terms=whole.terms(dims, limit))
    mechanism = chain([*steps, whole.remade(multiplier, bound)])
    if levels is not None:
        mechanism.largest(population)
    return PrivateSums(
        PrivacyStack(tuple(releases), ledger, sampling, aggregator, mechanism, source, vault,
                     survivors),
        rounds, population)


def _values(releases: Sequence[Release], round_: int) -> int:
    """Values of a client's upload in a round."""
    return sum(math.prod(r.shape) for r in releases if r.in_round(round_))
