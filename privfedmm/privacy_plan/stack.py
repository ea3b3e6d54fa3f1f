"""From a plan and an algorithm's releases to the stack that every upload passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from privacy import (
    AdaptiveClip,
    CapacityError,
    ChainError,
    Charged,
    JointClip,
    Ledger,
    Mechanism,
    OnDevice,
    Place,
    PrivacyStack,
    Project,
    Quantise,
    SimulationSource,
    Source,
    Statement,
    SystemSource,
    Vault,
    chain,
    state,
    turns,
)
from privacy.aggregation.messages import Transcript
from privacy.discrete import LARGEST_SHARE
from privacy.quantise import most_levels
from privacy.statement import promised_charges
from privacy.transforms import Step
from privfedmm.base.errors import UserError
from privfedmm.config.sections import RunConfig
from privfedmm.federation.types import Algorithm, TrainsOnDevice
from privfedmm.mechanisms.noises import NOISES
from privfedmm.privacy_plan.aggregators import aggregator
from privfedmm.privacy_plan.plan import PRIVATE_LEVELS, PrivacyPlan, device_steps, survivors

ITEMS_FROM_ROWS = (
    "the set of items, who is left in the data, and the directions of the items' features: they "
    "were made from the users' own rows (dp.catalogue = from_interactions); that is not covered")


def noise_source(config: RunConfig) -> Source:
    """Return where a run's noise comes from: the operating system's generator, or the seed."""
    # Without a budget there is no noise, and rounding to the grid may follow the seed.
    simulated = config.dp is None or config.dp.noise == "simulation"
    return SimulationSource(config.seed) if simulated else SystemSource()


def dp_sgd(config: RunConfig, planned: PrivacyPlan) -> OnDevice | None:
    """Return the noise of each device's training under unit interaction; None otherwise."""
    dp = config.dp
    if dp is None or not dp.per_interaction:
        return None
    return OnDevice(planned.noise_multiplier, dp.clip_norm, device_steps(config),
                    noise_source(config))


def build_stack(
    config: RunConfig, planned: PrivacyPlan, algorithm: Algorithm, population: int, ledger: Ledger,
    vault: Vault | None, transcript: Transcript | None = None,
) -> PrivacyStack:
    """Build the stack of a run. Raises UserError where the pieces give no guarantee together."""
    dp = config.dp
    if dp is None and not config.is_secure:
        return PrivacyStack(
            algorithm.releases, ledger, planned.sampling, source=noise_source(config),
            survivors=survivors(config),
            aggregator=aggregator(config, population, survivors(config), transcript))
    if isinstance(algorithm, TrainsOnDevice):
        if config.is_secure:
            raise UserError("dp.unit: under unit interaction each device's upload is protected "
                            "already, from the server too; use aggregation plain")
        device = algorithm.on_device
        return PrivacyStack(algorithm.releases, ledger, planned.sampling, source=device.source,
                            vault=vault, on_device=device)
    if dp is not None and dp.per_interaction:
        raise UserError(f"dp.unit: method {config.method} does not train with noise on the device")
    try:
        return PrivacyStack(
            algorithm.releases, ledger, planned.sampling,
            aggregator=aggregator(config, population, survivors(config), transcript),
            mechanism=_mechanism(config, planned, algorithm, population),
            source=noise_source(config),
            vault=vault,
            survivors=survivors(config),
            clipper=AdaptiveClip(planned.clip_rule) if planned.clip_rule else None,
            portions=planned.portions,
        )
    except CapacityError as error:
        raise UserError(f"secure.levels: {error}") from error
    except (ChainError, ValueError) as error:
        raise UserError(f"dp: {error}") from error


def _mechanism(
    config: RunConfig, planned: PrivacyPlan, algorithm: Algorithm, population: int
) -> Mechanism:
    dp = config.dp
    steps: list[Step] = []
    if project := _projection(config, algorithm):
        steps.append(project)
    clip = dp.clip_norm if dp else config.secure.clip_norm
    steps.append(JointClip(clip, algorithm.joint_weights))
    bound = clip
    if config.is_secure:
        private = dp is not None and not math.isinf(dp.epsilon)
        levels = config.secure.levels or (
            _private_levels(planned) if private else most_levels(population))
        quantise = Quantise(clip / levels, dims_of(config, algorithm))
        steps.append(quantise)
        bound = quantise.limit(clip) * quantise.step
    # Without shares there is no budget, and a noise of multiplier 0 adds nothing anywhere.
    place = Place.CENTRAL if dp is None or (
        planned.shares is None and dp.place.in_shares) else dp.place
    steps.append(NOISES.get(dp.mechanism if dp else "gaussian").build(
        place, planned.noise_multiplier, bound, planned.shares.count if planned.shares else None))
    mechanism = chain(steps)
    if config.is_secure:
        for round_ in range(max(len(planned.portions.weights), 1)):
            planned.portions.mechanism(mechanism, round_).largest(population)
    return mechanism


def _private_levels(planned: PrivacyPlan) -> int:
    """Steps in a clip norm: fewer than usual where a share of the noise would leave its table."""
    levels = PRIVATE_LEVELS
    if planned.shares is not None:
        least = min(planned.portions.weights, default=1.0)
        width = planned.noise_multiplier / math.sqrt(least * planned.shares.count)
        while width * levels > LARGEST_SHARE / 2 and levels > 16:
            levels //= 2
    return levels


def _projection(config: RunConfig, algorithm: Algorithm) -> Project | None:
    dp = config.dp
    if dp is None or not config.entry.can.public_subspace or not dp.subspace_rank:
        return None
    return Project(algorithm.subspace(dp.subspace_rank))


def dims_of(config: RunConfig, algorithm: Algorithm) -> int:
    """Return the number of values of a client's upload, as they leave the device, in the round with
    most of them."""
    project, releases = _projection(config, algorithm), algorithm.releases
    shape = project.shape if project else (lambda r: r.shape)
    return max(sum(math.prod(shape(r)) for r in releases if r.in_round(t))
               for t in turns(releases))


def statement(
    config: RunConfig, planned: PrivacyPlan, stack: PrivacyStack, population: int
) -> Statement:
    """Return the statement of what the run promises."""
    promise = state(stack, planned.budget, planned.rounds + planned.spare, population,
                    _first_dims(stack), planned.spare)
    more = [] if config.dp is None or config.catalogue_unit else [ITEMS_FROM_ROWS]
    if config.dp is not None and config.tuned is not None:
        more.append(f"the choice of {config.tuned.told()}: these are figures of users' held-out "
                    "rows")
    return replace(promise, not_covered=(*more, *promise.not_covered))


def charges_of(
    planned: PrivacyPlan, stack: PrivacyStack, population: int
) -> Sequence[Charged]:
    """Return the entries that the run leaves in its ledger if all of its attempts are needed."""
    return promised_charges(
        stack, planned.rounds + planned.spare, population, _first_dims(stack))


def _first_dims(stack: PrivacyStack) -> int:
    first = [r for r in stack.releases if r.in_round(0)]
    shape = stack.mechanism.shape if stack.mechanism else (lambda r: r.shape)
    return sum(math.prod(shape(release)) for release in first)
