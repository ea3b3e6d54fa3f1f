"""From the dp section of a config to a mechanism, a budget and a statement."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.config import STATISTICS, DPSettings, RunConfig
from experiments.errors import PRIVACY_VIOLATION, UserError
from experiments.files import save_tensors, write_json
from privacy import (
    Budget,
    BudgetError,
    ChainError,
    Everyone,
    FixedSize,
    GaussianNoise,
    JointClip,
    Ledger,
    LedgerError,
    Poisson,
    PricingError,
    PrivacyStack,
    Project,
    Sampling,
    SimulationSource,
    Statement,
    SystemSource,
    calibrate,
    chain,
    state,
)
from privfedmm.federation import Algorithm
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

    def noise_stddev(self, dp: DPSettings, population: int) -> float:
        """Absolute standard deviation on the sum over a cohort."""
        local = math.sqrt(self.sampling.rate * population) if dp.trust == "local" else 1.0
        return self.noise_multiplier * dp.clip_norm * local


def plan(config: RunConfig, population: int) -> Plan:
    """Sampling, budget and calibrated noise. Raises UserError for what cannot be promised."""
    dp = config.dp
    if dp is None:
        return _settled(config, population, Plan(Everyone(), None, 0.0, config.rounds))
    if config.mode == "reference":
        raise UserError("mode: the reference hands the server every client's own parameters; "
                        "no epsilon holds there; use mode default")
    if config.method == "local":
        raise UserError("dp.epsilon: method local releases nothing, there is nothing to protect; "
                        "leave --dp-epsilon out")
    sampling = _sampling(dp, population)
    if math.isinf(dp.epsilon):
        return _settled(config, population, Plan(sampling, None, 0.0, config.rounds))
    delta = dp.delta if dp.delta is not None else min(1e-5, population**-1.1)
    if delta >= 1 / population:
        raise UserError(f"dp.delta: {delta:g} is not below 1 / users = {1 / population:.3g}: a "
                        "mechanism that publishes one user whole would meet it; give less")
    budget = Budget(dp.epsilon, delta)

    def calibrated(rounds: int) -> Plan:
        try:
            multiplier = calibrate(dp.epsilon, delta, rounds, sampling, population,
                                   local=dp.trust == "local")
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


def build(
    config: RunConfig, planned: Plan, algorithm: Algorithm, ledger: Ledger, vault: FileVault | None
) -> PrivacyStack:
    """The stack of a run. Raises UserError where the pieces give no guarantee together."""
    dp = config.dp
    if dp is None:
        return PrivacyStack(algorithm.releases, ledger)
    try:
        steps: list[Project | JointClip | GaussianNoise] = []
        if isinstance(algorithm, GFMFR) and dp.subspace_rank:
            steps.append(Project(algorithm.subspace(dp.subspace_rank)))
        steps.append(JointClip(dp.clip_norm, algorithm.joint_weights))
        # Replacing a client moves its vector by up to two clips; the price doubles, not the noise.
        steps.append(GaussianNoise(planned.noise_multiplier, dp.clip_norm, dp.trust))
        return PrivacyStack(
            algorithm.releases, ledger, planned.sampling, mechanism=chain(steps),
            source=SimulationSource(config.seed) if dp.noise == "simulation" else SystemSource(),
            vault=vault,
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
