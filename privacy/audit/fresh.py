"""Draw the noise on nothing, again and again under fresh keys, as other runs would have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import stats

from privacy.audit.canaries import layout
from privacy.audit.likeness import FEWEST_ALIKE, combined, repeated
from privacy.audit.residual import Residual, as_stated, dithered
from privacy.randomness import SimulationSource, Source
from privacy.stack import PrivacyStack
from privacy.uploads import Dense

RUNS = 64  # draws in the first and in the last round: with 8 bits two of them share a key
_PAIR = 2  # draws in every other round: equal only where the key is no secret
MOST_ROUNDS = 16


@dataclass(frozen=True)
class Fresh:
    """Hold the noise on nothing of stacks without anything in common.

    nothing: of one stack, round after round. alike: p-values of the largest likeness between
    stacks, one of each round that was looked at; empty where a stack's noise follows from a seed by
    design, and says so. cohorts: the p-value of two stacks that draw one cohort; None where they
    draw none, or by a seed.
    """

    nothing: tuple[Residual, ...]
    alike: tuple[float, ...]
    cohorts: float | None = None

    @property
    def between_runs(self) -> float | None:
        """Return the p-value of the largest likeness of all."""
        return combined(self.alike) if self.alike else None


def looked_at(rounds: int, most: int, source: Source) -> list[int]:
    """Choose the rounds of an audit's closer look: the first, the last, and some of those between.

    Which, nobody knows before it is over: a fault that begins later is still there in the last, and
    one that comes and goes may be missed where there are more than `most` rounds.
    """
    if rounds <= most:
        return list(range(rounds))
    order = np.argsort(source.uniform("audit rounds", 0, rounds - 2), kind="stable")
    between = order[: max(most - 2, 0)] + 1
    return sorted({0, rounds - 1, *between.tolist()})


def steady(stack: PrivacyStack, rounds: int) -> PrivacyStack:
    """Return the stack with a clip norm that does not move: what it learns is of no matter here."""
    if stack.clipper is None:
        return stack
    return replace(stack, clipper=stack.clipper.at_rest(rounds))


def fresh_draws(
    stack_factory: Callable[[], PrivacyStack], rounds: int, clients: int, source: Source
) -> Fresh:
    """Draw in the rounds looked at, each time from a stack of its own, for a client at random."""
    times = looked_at(rounds, MOST_ROUNDS, source)
    who = (source.uniform("audit fresh clients", 0, rounds) * clients).astype(np.int64)
    one, alike = steady(stack_factory(), rounds), []

    def draw(stack: PrivacyStack, round_: int, number: int) -> Residual:
        return _draw(stack, round_, int(who[round_]), source, number)

    nothing = [draw(one, t, 0) for t in times]
    if one.source.name == SimulationSource.name:
        return Fresh(tuple(nothing), ())
    for t, first in zip(times, nothing, strict=True):
        runs = RUNS if t in (times[0], times[-1]) else _PAIR
        more = (draw(steady(stack_factory(), rounds), t, i) for i in range(1, runs))
        drawn = [first.values, *(other.values for other in more)]
        if len(first.values) >= FEWEST_ALIKE:
            alike.append(repeated(drawn))
    return Fresh(tuple(nothing), tuple(alike), _cohorts(one, stack_factory(), times[-1], clients))


def _cohorts(one: PrivacyStack, other: PrivacyStack, round_: int, clients: int) -> float | None:
    """The chance that two cohorts which are drawn client by client have so many in common."""
    rate = one.sampling.rate
    if rate == 1:
        return None
    both = np.intersect1d(one.draw(clients, round_).ids, other.draw(clients, round_).ids)
    return float(stats.binom.sf(len(both) - 1, clients, rate**2))


def _draw(
    stack: PrivacyStack, round_: int, client: int, source: Source, number: int
) -> Residual:
    """The noise that a sum of zeros gets, or that one client adds to zeros."""
    mechanism = stack.at(round_)
    assert mechanism is not None
    where = layout([r for r in stack.releases if r.in_round(round_)], mechanism)
    noise, scale = mechanism.noise, mechanism.scale
    # Of another attempt than was played: noise that follows from a seed is not looked at twice.
    label = round_ + (1 << 32)
    kind = torch.int64 if scale.step else torch.float32
    # Not expanded: a projected release is in its public directions here.
    zeros = {n: torch.zeros(shape, dtype=kind) for n, shape in where.shapes.items()}
    if noise.place.on_sum:
        drawn = {n: x[None] for n, x in noise.on_sum(zeros, scale, stack.source, label).items()}
        stddev = noise.stddev
    else:
        rows = {n: Dense(x[None].to(torch.int32 if scale.step else kind))
                for n, x in zeros.items()}
        sent = noise.on_clients(rows, scale, np.array([client]), stack.source, label)
        drawn, stddev = {n: part.dense() for n, part in sent.items()}, mechanism.own_stddev
    values = dithered(where.join_rows(drawn, scale.step)[0] / stddev, scale.step / stddev, source,
                      f"nothing {round_} {number}")
    return Residual("|".join([*where.shapes, "of nothing"]), *as_stated(noise, values))
