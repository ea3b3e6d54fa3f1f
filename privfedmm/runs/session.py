"""A run in memory: algorithm, stack, state and clients, and their checkpoint."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from privfedmm.privacy_plan import plan as protection
from privfedmm.config import STATISTICS, RunConfig
from privfedmm.errors import UserError
from privfedmm.files import save_tensors, write_json
from privacy import Ledger, LedgerError, PrivacyStack, Statement
from privacy.aggregation.messages import Transcript
from privfedmm.data import Dataset
from privfedmm.evaluation import BestRound
from privfedmm.features import select
from privfedmm.federation import Algorithm, FeaturePin
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.per_example import PerExample
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.settings import AlgorithmSettings, backbone_only
from privfedmm.statistics import GroupStatistics
from privfedmm.statistics.public import PublicItems

CHECKPOINT = "checkpoint.pt"


def method_settings(config: RunConfig) -> AlgorithmSettings:
    """The algorithm's settings for the method of a run."""
    if config.method == "backbone":
        return backbone_only(config.algorithm)
    if config.method == "local":
        # Nothing is sent: groups and distillation have nothing to work from, features stay.
        plain = backbone_only(config.algorithm)
        return plain.model_copy(update={"modalities": config.algorithm.modalities})
    return config.algorithm


def build_algorithm(config: RunConfig, data: Dataset, planned: protection.Plan) -> Algorithm:
    """The method of a run. Raises UserError for settings that do not fit."""
    settings = method_settings(config)
    try:
        chosen = select(data.features, settings.modalities)
        if config.method in STATISTICS:
            noise = planned.noise_stddev(config.dp, data.num_users) if config.dp else 0.0
            statistics = config.statistics.model_copy(update={
                "groups": planned.groups, "association_rank": planned.rank})
            method = GroupStatistics(
                statistics, data.train,
                PublicItems(chosen, data.num_items, statistics, data.present),
                config.seed, noise, data.train_age)
            if config.rounds < method.rounds:
                raise UserError(f"rounds: method {config.method} makes its releases in "
                                f"{method.rounds} rounds, got {config.rounds}; leave --rounds out")
            return method
        if device := protection.on_device(config, planned):
            return PerExample(
                settings, data.train, FeatureViews(chosen, data.num_items, settings),
                config.rounds, config.seed, device,
                rank=config.dp.subspace_rank if config.dp and chosen else 0)
        return GFMFR(
            settings, data.train,
            FeatureViews(chosen, data.num_items, settings, data.present, data.cold),
            config.rounds, config.seed, federated=config.method != "local",
            train_age=data.train_age,
        )
    except ValueError as error:
        raise UserError(str(error)) from error


@dataclass
class Session:
    """Everything that changes over rounds, plus what it is computed with."""

    config: RunConfig
    algorithm: Algorithm
    planned: protection.Plan
    stack: PrivacyStack
    statement: Statement
    state: Any
    clients: Any
    population: int
    best: BestRound
    pin: FeaturePin
    best_ranks: dict[str, np.ndarray] = field(default_factory=dict)
    best_model: dict[str, Any] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(
        cls, config: RunConfig, data: Dataset, folder: Path | None = None,
        transcript: Transcript | None = None, guard: bool = False,
    ) -> Session:
        """A session before its first round, its ledger kept in `folder` where given.

        transcript: told every message of secure aggregation. guard: keep what is released even
        without a budget, for clients who answer a round but once.
        Raises UserError for settings that do not fit.
        """
        planned = protection.plan(config, data.num_users, data.num_items)
        algorithm = build_algorithm(config, data, planned)
        # Without a mechanism there is no budget to guard: `save` writes the ledger once a round.
        guarded = folder if config.dp is not None or guard else None
        keep = protection.ledger_keeper(guarded) if guarded else None
        vault = protection.FileVault(guarded) if guarded else None
        ledger = Ledger((), planned.budget, keep)
        stack = protection.build(
            config, planned, algorithm, data.num_users, ledger, vault, transcript)
        return cls(
            config=config,
            algorithm=algorithm,
            planned=planned,
            stack=stack,
            statement=protection.statement(config, planned, stack, data.num_users),
            state=algorithm.initial_state(),
            clients=algorithm.initial_clients(),
            population=data.num_users,
            best=BestRound(config.evaluation.patience),
            pin=FeaturePin.of(algorithm.public_features),
        )

    def save(self, folder: Path, data_hash: str) -> None:
        """Write ledger and checkpoint; the checkpoint last, so that it never runs ahead."""
        write_json(folder / protection.LEDGER, self.stack.ledger.to_json())
        save_tensors(
            folder / CHECKPOINT,
            {
                "data": data_hash,
                "features": self.pin.digest.hex(),
                "model": self.algorithm.to_saved(self.state, self.clients),
                "best": vars(self.best),
                "best_ranks": {n: torch.from_numpy(r) for n, r in self.best_ranks.items()},
                "best_model": self.best_model,
                "totals": self.totals,
                "rows": self.rows,
                "clip_shares": self.stack.clipper.shares if self.stack.clipper else [],
            },
        )

    def _complete(self, ledger: Ledger, saved: dict[str, Any]) -> None:
        """Raise LedgerError where a checkpointed round is not in the ledger: a chain that was cut
        short is still a chain."""
        private = self.stack.mechanism is not None or self.stack.on_device is not None
        rounds = len(saved["rows"]) if private else 0
        missing = [t for t in range(rounds) if not ledger.released(t)]
        if missing:
            raise LedgerError(f"the ledger lacks round {missing[0]}, which the checkpoint has "
                              "played: entries were removed")

    def restore(self, folder: Path, data_hash: str) -> None:
        """Continue from a checkpoint. Raises UserError where it does not belong to this run.

        A round that was charged but not checkpointed is played again: without a mechanism it
        uploads the same values; with one, the stack hands out what was released then.
        """
        try:
            saved = torch.load(folder / CHECKPOINT, weights_only=True)
            ledger = Ledger.from_json(
                protection.read_ledger(folder), self.planned.budget, self.stack.ledger.keep)
            if saved["data"] != data_hash:
                raise UserError("--resume: the data set has changed since the run began; "
                                "start a new run")
            self._complete(ledger, saved)
            self.pin = FeaturePin(bytes.fromhex(saved["features"]))
            self.state, self.clients = self.algorithm.from_saved(saved["model"])
        except LedgerError as error:
            raise protection.overspent(error) from error
        except (
            OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError,
            pickle.UnpicklingError,
        ) as error:
            raise UserError(f"--resume: {folder} cannot be continued ({error})") from error
        self.best = BestRound(**saved["best"])
        self.best_ranks = {name: r.numpy() for name, r in saved["best_ranks"].items()}
        self.best_model = saved["best_model"]
        self.totals, self.rows = saved["totals"], saved["rows"]
        self.stack = replace(self.stack, ledger=ledger)
        if self.stack.clipper is not None:
            self.stack.clipper.shares = list(saved["clip_shares"])
