"""What a user must know of a run, each a sentence: before it begins, and once in its rounds."""

from __future__ import annotations

import math
from typing import Any

from privfedmm.federation.types import Costs

# Beyond this e^epsilon, an attacker's odds on one user, is no bound that anybody could notice.
_LARGEST = 20.0
_NEARLY_ALL = 0.95


def of_plan(session: Any) -> list[str]:
    """Return what is to be said of a private run's budget: what it is spent on where a method
    decides that, and where it means nothing.

    session: a `Session`.
    """
    dp, planned = session.config.dp, session.planned
    if dp is None or math.isinf(dp.epsilon):
        return []
    return [*([planned.told] if planned.told else []), *_without_sense(session)]


def _without_sense(session: Any) -> list[str]:
    dp, planned = session.config.dp, session.planned
    if dp.epsilon > _LARGEST:
        sure = 1 / (1 + math.exp(-min(dp.epsilon, 700.0)))
        return [f"warning: dp.epsilon {dp.epsilon:g} promises next to nothing: whoever guesses "
                f"whether one {dp.unit} took part may be right {sure:.7%} of the time, where a "
                "coin is right 50%; budgets that protect are below 10"]
    cohort = planned.sampling.rate * session.population
    if dp.unit == "interaction":
        return []
    even = planned.noise_stddev(dp, session.population)
    # Of the round that has most of the budget.
    noise = min(planned.portions.multiplier(even, t) for t in range(planned.rounds))
    signal = cohort * dp.clip_norm
    if noise < signal:
        return []
    return [f"warning: dp.epsilon {dp.epsilon:g} leaves no signal: the noise on every sum has a "
            f"standard deviation of {noise:.4g} or more, and {cohort:.0f} users who all say the "
            f"same come to {signal:.4g} at most (dp.clip_norm {dp.clip_norm:g}); what is learned "
            "is noise: raise the budget, or have more users"]


def of_round(session: Any, costs: Costs, said: set[str]) -> list[str]:
    """Return what a round of a simulation shows to be set wrongly, each kind once a run.

    session: a `Session`. said: the kinds that were said before, to which what is said is added.
    """
    mechanism = session.stack.mechanism
    if mechanism is None:
        return []
    field = "dp.clip_norm" if session.config.dp is not None else "secure.clip_norm"
    clip, out = mechanism.clip.clip_norm, dict[str, str]()
    taking = max(costs.survivors, 1)
    adapts = session.stack.clipper is not None
    if costs.simulation_shortened >= _NEARLY_ALL * taking and not adapts:
        out["shortened"] = (
            f"warning: {costs.simulation_shortened} of {taking} uploads were longer than {field} = "
            f"{clip:g} and shortened to it: little of what devices learn is left; raise it")
    largest, step = costs.simulation_largest, mechanism.bound.grid
    if largest is not None and step and step > largest > 0:
        out["coarse"] = (
            f"warning: the largest value of any upload is {largest:.3g}, and a step of the grid is "
            f"{step:.3g}: nearly every value is rounded to 0; lower {field} = {clip:g}, or raise "
            "secure.levels")
    new = [text for kind, text in out.items() if kind not in said]
    said.update(out)
    return new
