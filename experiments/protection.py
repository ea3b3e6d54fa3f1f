"""From the dp section of a config to a mechanism, a budget and a statement."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.clipping import clip_rule
from experiments.config import STATISTICS, DPSettings, RunConfig
from experiments.errors import PRIVACY_VIOLATION, UserError
from experiments.files import save_tensors, write_json
from privacy import (
    AdaptiveClip,
    Budget,
    BudgetError,
    ChainError,
    ClipRule,
    Everyone,
    FixedSize,
    GaussianNoise,
    JointClip,
    Ledger,
    LedgerError,
    OnDevice,
    Poisson,
    PricingError,
    PrivacyStack,
    Project,
    Sampling,
    SimulationSource,
    Source,
    Statement,
    SystemSource,
    calibrate,
    chain,
    state,
)
from privfedmm.federation import Algorithm, TrainsOnDevice
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.statistics import public_groups

LEDGER, RELEASE = "ledger.json", "release.pt"


@dataclass(frozen=True)
class Plan:
    """Public before the first round: who takes part, what may be spent, how much noise that is."""

    sampling: Sampling
    budget: Budget | None
    noise_multiplier: float
    rounds: int
    groups: int | None = None  # of the statistics methods, settled by public quantities
    clip_rule: ClipRule | None = None  # of an adaptive clip

    def noise_stddev(self, dp: DPSettings, population: int) -> float:
        """Absolute standard deviation on the sum over a cohort."""
        local = math.sqrt(self.sampling.rate * population) if dp.trust == "local" else 1.0
        return self.noise_multiplier * dp.clip_norm * local


def plan(config: RunConfig, population: int, items: int = 1) -> Plan:
    """Sampling, budget and calibrated noise; items: how many there are, public like the users.

    Raises UserError for what cannot be promised.
    """
    planned = _plan(config, population, items)
    cohort = planned.sampling.rate * population
    return replace(planned, clip_rule=clip_rule(config, cohort, planned.noise_multiplier))


def _plan(config: RunConfig, population: int, items: int) -> Plan:
    dp = config.dp
    if dp is None:
        return _settled(config, population, Plan(Everyone(), None, 0.0, config.rounds))
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
        return _settled(config, population, Plan(sampling, None, 0.0, config.rounds))
    # Of interactions only a public bound is used: their number is part of what is protected.
    units = population * items if interaction else population
    delta = dp.delta if dp.delta is not None else min(1e-5, units**-1.1)
    if delta >= 1 / population:
        raise UserError(f"dp.delta: {delta:g} is not below 1 / users = {1 / population:.3g}: a "
                        "mechanism that publishes one user whole would meet it; give less")
    budget = Budget(dp.epsilon, delta)

    def calibrated(rounds: int) -> Plan:
        steps = rounds * config.algorithm.local.epochs if interaction else rounds
        try:
            multiplier = calibrate(dp.epsilon, delta, steps, sampling, population,
                                   local=dp.trust == "local" and not interaction)
        except PricingError as error:
            raise UserError(f"dp.epsilon: {error}") from error
        return Plan(sampling, budget, multiplier, rounds)

    settled = _settled(config, population, calibrated(config.rounds))
    if settled.rounds == config.rounds:
        return settled
    # Fewer releases than allowed for: the budget goes to those that are made.
    return replace(calibrated(settled.rounds), groups=settled.groups)


def _settled(config: RunConfig, population: int, planned: Plan) -> Plan:
    """The plan with the number of groups, and with the rounds that they need."""
    if config.method not in STATISTICS:
        return planned
    stddev = planned.noise_stddev(config.dp, population) if config.dp else 0.0
    groups = public_groups(config.statistics, population, stddev)
    return replace(planned, groups=groups, rounds=2 if groups else 1)


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
    simulated = config.dp is not None and config.dp.noise == "simulation"
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
    config: RunConfig, planned: Plan, algorithm: Algorithm, ledger: Ledger, vault: FileVault | None
) -> PrivacyStack:
    """The stack of a run. Raises UserError where the pieces give no guarantee together."""
    dp = config.dp
    if dp is None:
        return PrivacyStack(algorithm.releases, ledger)
    if isinstance(algorithm, TrainsOnDevice):
        device = algorithm.on_device
        return PrivacyStack(algorithm.releases, ledger, planned.sampling, source=device.source,
                            vault=vault, on_device=device)
    if dp.unit == "interaction":
        raise UserError(f"dp.unit: method {config.method} does not train with noise on the device")
    try:
        steps: list[Project | JointClip | GaussianNoise] = []
        if isinstance(algorithm, GFMFR) and dp.subspace_rank:
            steps.append(Project(algorithm.subspace(dp.subspace_rank)))
        steps.append(JointClip(dp.clip_norm, algorithm.joint_weights))
        # Replacing a client moves its vector by up to two clips; the price doubles, not the noise.
        steps.append(GaussianNoise(planned.noise_multiplier, dp.clip_norm, dp.trust))
        return PrivacyStack(
            algorithm.releases, ledger, planned.sampling, mechanism=chain(steps),
            source=_source(config),
            vault=vault,
            clipper=AdaptiveClip(planned.clip_rule) if planned.clip_rule else None,
        )
    except (ChainError, ValueError) as error:
        raise UserError(f"dp: {error}") from error


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
