"""A run in memory: algorithm, stack, state and clients, and their checkpoint."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.config import RunConfig
from experiments.errors import UserError
from experiments.files import save_tensors, write_json
from privacy import Ledger, PrivacyStack
from privfedmm.data import Dataset
from privfedmm.evaluation import BestRound
from privfedmm.features import select
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.state import Clients, ServerState
from privfedmm.gfmfr.views import FeatureViews
from privfedmm.settings import AlgorithmSettings, backbone_only

CHECKPOINT, LEDGER = "checkpoint.pt", "ledger.json"


def method_settings(config: RunConfig) -> AlgorithmSettings:
    """The algorithm's settings for the method of a run."""
    if config.method == "backbone":
        return backbone_only(config.algorithm)
    if config.method == "local":
        # Nothing is sent: groups and distillation have nothing to work from, features stay.
        plain = backbone_only(config.algorithm)
        return plain.model_copy(update={"modalities": config.algorithm.modalities})
    return config.algorithm


@dataclass
class Session:
    """Everything that changes over rounds, plus what it is computed with."""

    config: RunConfig
    algorithm: GFMFR
    stack: PrivacyStack
    state: ServerState
    clients: Clients
    best: BestRound
    best_ranks: dict[str, np.ndarray] = field(default_factory=dict)
    best_model: dict[str, Any] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(cls, config: RunConfig, data: Dataset) -> Session:
        """A session before its first round. Raises UserError for settings that do not fit."""
        settings = method_settings(config)
        try:
            chosen = select(data.features, settings.modalities)
            views = FeatureViews(chosen, data.num_items, settings)
            algorithm = GFMFR(
                settings, data.train, views, config.rounds, config.seed,
                federated=config.method != "local",
            )
        except ValueError as error:
            raise UserError(str(error)) from error
        return cls(
            config=config,
            algorithm=algorithm,
            stack=PrivacyStack(algorithm.releases, Ledger()),
            state=algorithm.initial_state(),
            clients=algorithm.initial_clients(),
            best=BestRound(config.evaluation.patience),
        )

    def save(self, folder: Path, data_hash: str) -> None:
        """Write ledger and checkpoint; the checkpoint last, so that it never runs ahead."""
        write_json(folder / LEDGER, self.stack.ledger.to_json())
        fusion = self.algorithm.server.fusion
        save_tensors(
            folder / CHECKPOINT,
            {
                "data": data_hash,
                "state": self.state.state_dict(),
                "clients": self.clients.state_dict(),
                "fusion": None if fusion is None else fusion.state_dict(),
                "best": vars(self.best),
                "best_ranks": {n: torch.from_numpy(r) for n, r in self.best_ranks.items()},
                "best_model": self.best_model,
                "totals": self.totals,
                "rows": self.rows,
            },
        )

    def restore(self, folder: Path, data_hash: str) -> None:
        """Continue from a checkpoint. Raises UserError where it does not belong to this run."""
        try:
            saved = torch.load(folder / CHECKPOINT, weights_only=True)
            ledger = Ledger.from_json(json.loads((folder / LEDGER).read_text(encoding="utf-8")))
        except (
            OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError,
            pickle.UnpicklingError,
        ) as error:
            raise UserError(f"--resume: {folder} cannot be continued ({error})") from error
        if saved["data"] != data_hash:
            raise UserError("--resume: the data set has changed since the run began; "
                            "start a new run")
        self.state = ServerState.from_state_dict(saved["state"])
        self.clients = Clients(**saved["clients"])
        if self.algorithm.server.fusion is not None:
            self.algorithm.server.fusion.load_state_dict(saved["fusion"])
        self.best = BestRound(**saved["best"])
        self.best_ranks = {name: r.numpy() for name, r in saved["best_ranks"].items()}
        self.best_model = saved["best_model"]
        self.totals, self.rows = saved["totals"], saved["rows"]
        # A round that was charged but not checkpointed is played again with the same streams and
        # uploads the same values; its charge is taken back with it and made anew.
        kept = [e for e in ledger.entries if e.round < self.state.round]
        self.stack = PrivacyStack(self.algorithm.releases, Ledger(kept))
