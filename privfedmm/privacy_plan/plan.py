"""From the dp section of a config to who takes part, what may be spent and how much noise it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from privacy import (
    EVEN,
    Budget,
    ChainError,
    ClipRule,
    Everyone,
    FixedSize,
    OnDevice,
    Poisson,
    Portions,
    PricingError,
    Sampling,
    Shares,
    Survivors,
    Terms,
    calibrate,
)
from privfedmm.base.errors import UserError
from privfedmm.config.protection import DPSettings
from privfedmm.config.sections import RunConfig
from privfedmm.mechanisms.aggregators import AGGREGATORS
from privfedmm.mechanisms.noises import NOISES
from privfedmm.methods.entry import Public
from privfedmm.methods.registry import METHODS
from privfedmm.mixing.settings import MixSettings
from privfedmm.privacy_plan.aggregators import check_cohort, check_masks, owners
from privfedmm.privacy_plan.clipping import clip_rule

PRIVATE_LEVELS = 4096  # steps in a clip norm: a share of the noise is then a table's width


@dataclass(frozen=True)
class PrivacyPlan:
    """This is public before the first round: who takes part, what may be spent, how much noise that
    is."""

    sampling: Sampling
    budget: Budget | None
    noise_multiplier: float
    rounds: int
    settings: Any = None  # of the method, settled by public quantities
    shares: Shares | None = None  # of distributed noise
    clip_rule: ClipRule | None = None  # of an adaptive clip
    spare: int = 0  # attempts that the budget pays for beyond the rounds
    portions: Portions = EVEN  # how the budget is split between the rounds
    own_portions: Portions = EVEN  # how the method splits what it gets of it
    told: str = ""  # what was settled and why, in a sentence

    def noise_stddev(self, dp: DPSettings, population: int) -> float:
        """Return the absolute standard deviation on the sum over a cohort of which nobody
        vanishes, on an even split of the budget."""
        more = 1.0
        if dp.place.alone:
            more = math.sqrt(self.sampling.rate * population)
        elif self.shares is not None:
            more = math.sqrt(population / self.shares.count)
        return self.noise_multiplier * dp.clip_norm * more

    def method_stddev(self, config: RunConfig, population: int) -> float:
        """Return the same for an even split of what the method gets of the budget between its
        rounds, where a mix gets the rest."""
        if config.dp is None:
            return 0.0
        mix, whole = config.mix, self.noise_stddev(config.dp, population)
        if not mix.rounds:
            return whole
        return whole * math.sqrt((self.rounds - mix.rounds) / ((1 - mix.share) * self.rounds))


def plan(
    config: RunConfig, population: int, items: int, dims: int | None = None, features: bool = True
) -> PrivacyPlan:
    """Return sampling, budget and calibrated noise.

    items: the number of items, which is public like the number of users. features: whether the run
    uses any. dims: the number of values
    of a client's upload in the round with most, for a noise whose price depends on them; None for
    all others. Raises UserError for what cannot be promised.
    """
    planned = _plan(config, population, items, dims, features)
    cohort = planned.sampling.rate * population
    return replace(planned, clip_rule=clip_rule(config, cohort, planned.noise_multiplier))


def needs_dims(config: RunConfig) -> bool:
    """Return whether the price of the config's noise depends on how many values a client sends.

    Raises UserError for a noise that is not known where the config asks for it.
    """
    dp = config.dp
    if dp is None:
        return False
    _check_noise(dp)
    if dp.per_interaction or dp.place.in_shares:
        return False
    noise = NOISES.get(dp.mechanism).build(dp.place, 1.0, 1.0, None)
    return noise.terms(2, None) != noise.terms(3, None)


def _check_noise(dp: DPSettings) -> None:
    if dp.per_interaction:
        if dp.mechanism != OnDevice.mechanism:
            raise UserError(f"dp.mechanism: unit interaction adds {OnDevice.mechanism} noise in "
                            f"each training step, no {dp.mechanism}; leave dp.mechanism out")
        return
    places = NOISES.get(dp.mechanism).places
    if dp.trust not in places:
        raise UserError(f"dp.trust: {dp.mechanism} noise is not known for trust {dp.trust}; give "
                        f"trust {' or '.join(sorted(places))}, or another dp.mechanism")


def _plan(
    config: RunConfig, population: int, items: int, dims: int | None, features: bool
) -> PrivacyPlan:
    dp = config.dp
    check_masks(config, population)
    _check_mix(config)
    if dp is None:
        check_cohort(config)
        return _settled(config, population, items, features, PrivacyPlan(
            _cohort(config.cohort, population), None, 0.0, config.most_rounds))
    if config.is_reference:
        raise UserError("mode: the reference hands the server every client's own parameters; "
                        "no epsilon holds there; use mode default")
    can = config.entry.can
    if not can.federated:
        raise UserError(f"dp.epsilon: method {config.method} releases nothing, there is nothing to "
                        "protect; leave --dp-epsilon out")
    interaction = dp.per_interaction
    if interaction and not can.interaction_unit:
        able = " or ".join(e.name for e in METHODS if e.can.interaction_unit)
        raise UserError(f"dp.unit: method {config.method} does not train with noise on the device; "
                        f"unit interaction needs method {able}")
    if not interaction and not can.user_unit:
        raise UserError(f"dp.unit: no guarantee for a whole user is known for method "
                        f"{config.method}; leave --dp-epsilon out")
    if interaction and not dp.place.alone:
        raise UserError("dp.trust: unit interaction puts the noise into each device's training, so "
                        "nobody is trusted; leave --trust out")
    check_cohort(config)
    sampling = _sampling(dp, population)
    if interaction and not sampling.full:
        raise UserError("dp.sampling: noise on the device is priced at full participation only; "
                        "leave --sampling out")
    if math.isinf(dp.epsilon):
        return _settled(config, population, items, features, PrivacyPlan(
            sampling, None, 0.0, config.most_rounds))
    # Of interactions only a public bound is used: their number is part of what is protected.
    units = population * items if interaction else population
    delta = dp.delta if dp.delta is not None else min(1e-5, units**-1.1)
    if delta >= 1 / population:
        raise UserError(f"dp.delta: {delta:g} is not below 1 / users = {1 / population:.3g}: a "
                        "mechanism that publishes one user whole would meet it; give less")
    budget = Budget(dp.epsilon, delta)
    shares = _shares(config, population) if dp.place.in_shares else None

    def calibrated(rounds: int, portions: Portions = EVEN) -> PrivacyPlan:
        attempts = rounds + dp.spare_rounds
        steps = attempts * device_steps(config) if interaction else attempts
        try:
            if interaction:
                multiplier = calibrate(dp.epsilon, delta, steps, sampling, population)
            else:
                event = NOISES.get(dp.mechanism).event(
                    dp.place, sampling, shares.count if shares else None)
                multiplier = calibrate(
                    dp.epsilon, delta, steps, sampling, population, shares=shares, event=event,
                    terms=None if dims is None else Terms(dims=dims), portions=portions)
        except (PricingError, ChainError) as error:
            raise UserError(f"dp.epsilon: {error}") from error
        return PrivacyPlan(
            sampling, budget, multiplier, rounds, shares=shares, spare=dp.spare_rounds,
            portions=portions)

    settled = _settled(config, population, items, features, calibrated(config.most_rounds))
    if interaction:
        own = whole = EVEN
    else:
        own = Portions.of(config.entry.portions(
            settled.settings, settled.rounds - config.mix.rounds))
        whole = _with_mix(config.mix, own, settled.rounds)
    if settled.rounds == config.most_rounds and whole == EVEN:
        return settled
    # Fewer releases than allowed for: the budget goes to those that are made.
    return replace(calibrated(settled.rounds, whole), settings=settled.settings,
                   told=settled.told, own_portions=own)


def _with_mix(mix: MixSettings, own: Portions, rounds: int) -> Portions:
    """The portions of all rounds: the method's share of the budget as it splits it, then the
    mix's."""
    if not mix.rounds:
        return own
    left = rounds - mix.rounds
    return Portions.of([*((1 - mix.share) * own.weight(t) / left for t in range(left)),
                        *[mix.share / mix.rounds] * mix.rounds])


def _check_mix(config: RunConfig) -> None:
    """Refuse a mix where there is nothing to weigh. Raises UserError."""
    if not config.mix.on:
        return
    entry = config.entry
    if not (entry.can.federated and entry.can.explains):
        able = " or ".join(e.name for e in METHODS if e.can.federated and e.can.explains)
        raise UserError(f"mix.on: the score of method {config.method} has no parts to weigh; use "
                        f"method {able}, or set it to false")
    if config.dp is not None and config.dp.per_interaction:
        raise UserError("mix.on: what a user says of the weights follows from a whole user, and "
                        "unit interaction protects single ones; set it to false")


def _shares(config: RunConfig, population: int) -> Shares:
    """What distributed noise is provisioned for. Raises UserError where no honest client is sure
    to be left."""
    ways = (config.aggregation, config.statistics_way)
    if not all(AGGREGATORS.get(way).hides_clients for way in ways):
        raise UserError("dp.trust: distributed noise hides nobody from a server that reads every "
                        "upload; add --aggregation masked, or use trust central or local")
    terms = config.secure
    colluding = owners(config).colluding(range(population))
    honest = survivors(config).min_survivors(population) - colluding
    if honest < 1:
        raise UserError(f"secure.dropout: of {population} users {colluding} may side with the "
                        "server, and no honest one may be left of those who do not vanish; lower "
                        "secure.dropout, secure.colluding or secure.colluding_nodes, or give no "
                        "owner so many users")
    # Any number of values up to 2^24 costs the same: a share is too wide for tau to matter.
    return Shares(honest, 2**24, float(terms.levels or PRIVATE_LEVELS))


def survivors(config: RunConfig) -> Survivors:
    """Return how many clients may vanish, and how many do in a simulation."""
    terms = config.secure
    tolerated = terms.dropout if config.is_secure or terms.simulated_dropout else 0.0
    return Survivors(tolerated, terms.simulated_dropout, config.seed)


def device_steps(config: RunConfig) -> int:
    """Return the noisy training steps of a device in a round, under unit interaction."""
    return config.entry.device_steps(config.method_settings)


def _settled(
    config: RunConfig, population: int, items: int, features: bool, planned: PrivacyPlan
) -> PrivacyPlan:
    """The plan with the method's settings and rounds, settled by public quantities alone."""
    public = Public(population, items, planned.method_stddev(config, population),
                    config.most_rounds - config.mix.rounds, features)
    settings, rounds = config.entry.settle(config.method_settings, public)
    return replace(planned, settings=settings, rounds=rounds + config.mix.rounds,
                   told="; ".join(filter(None, [
                       config.entry.told(config.method_settings, public), _mix_told(config)])))


def _mix_told(config: RunConfig) -> str:
    """What a mix has of a budget, in a sentence; empty without either."""
    mix = config.mix
    if not mix.on or config.dp is None or math.isinf(config.dp.epsilon):
        return ""
    return (f"{mix.steps} rounds weigh the parts of the score by an item of each user that was in "
            f"no upload before, for {mix.share:.0%} of the whole budget")


def _cohort(share: float, population: int) -> Sampling:
    """Who takes part where nothing is promised. Raises UserError."""
    if share == 1:
        return Everyone()
    try:
        return FixedSize(round(share * population), population)
    except ValueError as error:
        raise UserError(f"cohort: {error}") from error


def _sampling(dp: DPSettings, population: int) -> Sampling:
    if dp.everyone:
        if dp.sampling_rate != 1:
            raise UserError("dp.sampling_rate: everyone takes part; set dp.sampling to poisson or "
                            "fixed, or leave the rate out")
        return Everyone()
    try:
        if dp.sampling == "poisson":
            return Poisson(dp.sampling_rate)
        return FixedSize(round(dp.sampling_rate * population), population)
    except ValueError as error:
        raise UserError(f"dp.sampling_rate: {error}") from error
