"""From the dp section of a config to a mechanism, a budget and a statement."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from privacy import (
    AdaptiveClip,
    Budget,
    BudgetError,
    CapacityError,
    ChainError,
    ClipRule,
    DistributedNoise,
    Everyone,
    FixedSize,
    GaussianNoise,
    JointClip,
    Ledger,
    LedgerError,
    Mechanism,
    OnDevice,
    Poisson,
    PricingError,
    PrivacyStack,
    Project,
    Quantise,
    Sampling,
    Shares,
    SimulationSource,
    Source,
    Statement,
    Survivors,
    SystemSource,
    calibrate,
    chain,
    state,
)
from privacy.aggregation.messages import Transcript
from privacy.discrete import LARGEST_SHARE
from privacy.quantise import most_levels
from privacy.transforms import Step
from privfedmm.config import STATISTICS, DPSettings, RunConfig
from privfedmm.errors import PRIVACY_VIOLATION, UserError
from privfedmm.federation import Algorithm, TrainsOnDevice
from privfedmm.files import save_tensors, write_json
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.privacy_plan import aggregators as secure
from privfedmm.privacy_plan.clipping import clip_rule
from privfedmm.statistics import public_groups, public_rank

LEDGER, RELEASE = "ledger.json", "release.pt"
PRIVATE_LEVELS = 4096  # steps in a clip norm: a share of the noise is then a table's width


@dataclass(frozen=True)
class Plan:
    """Public before the first round: who takes part, what may be spent, how much noise that is."""

    sampling: Sampling
    budget: Budget | None
    noise_multiplier: float
    rounds: int
    groups: int | None = None  # of the statistics methods, settled by public quantities
    rank: int | None = None  # of their associations, likewise
    shares: Shares | None = None  # of distributed noise
    clip_rule: ClipRule | None = None  # of an adaptive clip

    def noise_stddev(self, dp: DPSettings, population: int) -> float:
        """Absolute standard deviation on the sum over a cohort of which nobody vanishes."""
        more = 1.0
        if dp.trust == "local":
            more = math.sqrt(self.sampling.rate * population)
        elif self.shares is not None:
            more = math.sqrt(population / self.shares.count)
        return self.noise_multiplier * dp.clip_norm * more


def plan(config: RunConfig, population: int, items: int) -> Plan:
    """Sampling, budget and calibrated noise; items: how many there are, public like the users.

    Raises UserError for what cannot be promised.
    """
    planned = _plan(config, population, items)
    cohort = planned.sampling.rate * population
    return replace(planned, clip_rule=clip_rule(config, cohort, planned.noise_multiplier))


def _plan(config: RunConfig, population: int, items: int) -> Plan:
    dp = config.dp
    if dp is None:
        return _settled(config, population, items, Plan(Everyone(), None, 0.0, config.rounds))
    if config.mode == "reference":
        raise UserError("mode: the reference hands the server every client's own parameters; "
                        "no epsilon holds there; use mode default")
    if config.method == "local":
        raise UserError("dp.epsilon: method local releases nothing, there is nothing to protect; "
                        "leave --dp-epsilon out")
    interaction = dp.unit == "interaction"
    if interaction and dp.trust != "local":
        raise UserError("dp.trust: unit interaction puts the noise into each device's training, so "
                        "nobody is trusted; leave --trust out")
    sampling = _sampling(dp, population)
    if interaction and not isinstance(sampling, Everyone):
        raise UserError("dp.sampling: noise on the device is priced at full participation only; "
                        "leave --sampling out")
    if math.isinf(dp.epsilon):
        return _settled(config, population, items, Plan(sampling, None, 0.0, config.rounds))
    # Of interactions only a public bound is used: their number is part of what is protected.
    units = population * items if interaction else population
    delta = dp.delta if dp.delta is not None else min(1e-5, units**-1.1)
    if delta >= 1 / population:
        raise UserError(f"dp.delta: {delta:g} is not below 1 / users = {1 / population:.3g}: a "
                        "mechanism that publishes one user whole would meet it; give less")
    budget = Budget(dp.epsilon, delta)
    shares = _shares(config, population) if dp.trust == "distributed" else None

    def calibrated(rounds: int) -> Plan:
        steps = rounds * config.algorithm.local.epochs if interaction else rounds
        try:
            multiplier = calibrate(
                dp.epsilon, delta, steps, sampling, population,
                local=dp.trust == "local" and not interaction, shares=shares)
        except PricingError as error:
            raise UserError(f"dp.epsilon: {error}") from error
        return Plan(sampling, budget, multiplier, rounds, shares=shares)

    settled = _settled(config, population, items, calibrated(config.rounds))
    if settled.rounds == config.rounds:
        return settled
    # Fewer releases than allowed for: the budget goes to those that are made.
    return replace(calibrated(settled.rounds), groups=settled.groups, rank=settled.rank)


def _shares(config: RunConfig, population: int) -> Shares:
    """What distributed noise is provisioned for. Raises UserError where no honest client is sure
    to be left."""
    if config.aggregation == "plain" or config.statistics_way == "plain":
        raise UserError("dp.trust: distributed noise hides nobody from a server that reads every "
                        "upload; add --aggregation masked, or use trust central or local")
    terms = config.secure
    honest = survivors(config).least(population) - math.ceil(terms.colluding * population)
    if honest < 1:
        raise UserError("secure.dropout: with these shares of dropouts and colluders no honest "
                        "client may be left; lower secure.dropout or secure.colluding")
    # Any number of values up to 2^24 costs the same: a share is too wide for tau to matter.
    return Shares(honest, 2**24, float(terms.levels or PRIVATE_LEVELS))


def survivors(config: RunConfig) -> Survivors:
    """How many clients may vanish, and which do."""
    terms = config.secure
    tolerated = terms.dropout if config.is_secure or terms.simulated_dropout else 0.0
    return Survivors(tolerated, terms.simulated_dropout, config.seed)


def _settled(config: RunConfig, population: int, items: int, planned: Plan) -> Plan:
    """The plan with groups and rank of associations, and with the rounds that they need."""
    if config.method not in STATISTICS:
        return planned
    stddev = planned.noise_stddev(config.dp, population) if config.dp else 0.0
    groups = public_groups(config.statistics, population, stddev)
    rank = public_rank(config.statistics, population, items, stddev)
    return replace(planned, groups=groups, rank=rank, rounds=1 + bool(groups) + bool(rank))


def _sampling(dp: DPSettings, population: int) -> Sampling:
    if dp.sampling == "everyone":
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


def _source(config: RunConfig) -> Source:
    # Without a budget there is no noise, and rounding to the grid may follow the seed.
    simulated = config.dp is None or config.dp.noise == "simulation"
    return SimulationSource(config.seed) if simulated else SystemSource()


def on_device(config: RunConfig, planned: Plan) -> OnDevice | None:
    """The noise of each device's training under unit interaction; None otherwise."""
    dp = config.dp
    if dp is None or dp.unit != "interaction":
        return None
    if config.method not in ("gfmfr", "backbone"):
        raise UserError(f"dp.unit: method {config.method} does not train with noise on the device; "
                        "unit interaction needs method gfmfr or backbone")
    return OnDevice(planned.noise_multiplier, dp.clip_norm, config.algorithm.local.epochs,
                    _source(config))


def build(
    config: RunConfig, planned: Plan, algorithm: Algorithm, population: int, ledger: Ledger,
    vault: FileVault | None, transcript: Transcript | None = None,
) -> PrivacyStack:
    """The stack of a run. Raises UserError where the pieces give no guarantee together."""
    dp = config.dp
    if dp is None and not config.is_secure:
        return PrivacyStack(algorithm.releases, ledger, survivors=survivors(config))
    if isinstance(algorithm, TrainsOnDevice):
        if config.is_secure:
            raise UserError("dp.unit: under unit interaction each device's upload is protected "
                            "already, from the server too; use aggregation plain")
        device = algorithm.on_device
        return PrivacyStack(algorithm.releases, ledger, planned.sampling, source=device.source,
                            vault=vault, on_device=device)
    if dp is not None and dp.unit == "interaction":
        raise UserError(f"dp.unit: method {config.method} does not train with noise on the device")
    try:
        return PrivacyStack(
            algorithm.releases, ledger, planned.sampling,
            aggregator=secure.aggregator(config, population, survivors(config), transcript),
            mechanism=_mechanism(config, planned, algorithm, population),
            source=_source(config),
            vault=vault,
            survivors=survivors(config),
            clipper=AdaptiveClip(planned.clip_rule) if planned.clip_rule else None,
        )
    except CapacityError as error:
        raise UserError(f"secure.levels: {error}") from error
    except (ChainError, ValueError) as error:
        raise UserError(f"dp: {error}") from error


def _mechanism(
    config: RunConfig, planned: Plan, algorithm: Algorithm, population: int
) -> Mechanism:
    dp = config.dp
    steps: list[Step] = []
    if dp and isinstance(algorithm, GFMFR) and dp.subspace_rank:
        steps.append(Project(algorithm.subspace(dp.subspace_rank)))
    clip = dp.clip_norm if dp else config.secure.clip_norm
    steps.append(JointClip(clip, algorithm.joint_weights))
    bound = clip
    if config.is_secure:
        private = dp is not None and not math.isinf(dp.epsilon)
        levels = config.secure.levels or (
            _private_levels(planned) if private else most_levels(population))
        quantise = Quantise(clip / levels, _dims(algorithm, steps[0]))
        steps.append(quantise)
        bound = quantise.limit(clip) * quantise.step
    multiplier = planned.noise_multiplier
    if planned.shares is not None:
        steps.append(DistributedNoise(multiplier, bound, planned.shares.count))
    else:
        place = dp.trust if dp else "central"
        assert place != "distributed" or not multiplier
        # Replacing a client moves its vector by up to two clips; the price doubles, not the noise.
        steps.append(GaussianNoise(multiplier, bound, "local" if place == "local" else "central"))
    mechanism = chain(steps)
    if config.is_secure:
        mechanism.largest(population)
    return mechanism


def _private_levels(planned: Plan) -> int:
    """Steps in a clip norm: fewer than usual where a share of the noise would leave its table."""
    levels = PRIVATE_LEVELS
    if planned.shares is not None:
        width = planned.noise_multiplier / math.sqrt(planned.shares.count)
        while width * levels > LARGEST_SHARE / 2 and levels > 16:
            levels //= 2
    return levels


def _dims(algorithm: Algorithm, first: Step) -> int:
    """Values of a client's upload in the round with most of them."""
    releases = algorithm.releases
    rounds = {t for r in releases for t in r.rounds or ()} or {0}
    shape = first.shape if isinstance(first, Project) else (lambda r: r.shape)
    return max(sum(math.prod(shape(r)) for r in releases if r.in_round(t)) for t in rounds)


def statement(config: RunConfig, planned: Plan, stack: PrivacyStack, population: int) -> Statement:
    """What the run promises."""
    first = [r for r in stack.releases if r.in_round(0)]
    shape = stack.mechanism.shape if stack.mechanism else (lambda r: r.shape)
    dims = sum(math.prod(shape(release)) for release in first)
    return state(stack, planned.budget, planned.rounds, population, dims)


class FileVault:
    """The last round's released sums in the run folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RELEASE

    def put(self, round_: int, sums: Mapping[str, Tensor]) -> None:
        """Write them, whole or not at all."""
        save_tensors(self._path, {"round": round_, "sums": dict(sums)})

    def get(self, round_: int) -> Mapping[str, Tensor] | None:
        """Read them back; None where the file is of another round."""
        if not self._path.exists():
            return None
        saved = torch.load(self._path, weights_only=True)
        sums: Mapping[str, Tensor] = saved["sums"]
        return sums if saved["round"] == round_ else None


def ledger_keeper(folder: Path) -> Callable[[Ledger], None]:
    """Writes a ledger to the run folder: given to it, before anything it charges is released."""
    return lambda ledger: write_json(folder / LEDGER, ledger.to_json())


def read_ledger(folder: Path) -> list[dict[str, object]]:
    """The rows of a run's ledger. Raises OSError or ValueError where there is none to read."""
    rows = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
    if not isinstance(rows, list):
        raise ValueError(f"{LEDGER} is not a list of entries")
    return rows


def overspent(error: BudgetError | LedgerError) -> UserError:
    """The error with the exit code of a privacy violation."""
    return UserError(f"privacy: {error}", PRIVACY_VIOLATION)
