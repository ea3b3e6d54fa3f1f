"""A run in memory: algorithm, stack, state and clients, and their checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from privacy import Ledger, LedgerError, PrivacyStack, Statement
from privacy.aggregation.messages import Transcript
from privfedmm.assemble import assemble
from privfedmm.base.arrays import save_arrays
from privfedmm.base.errors import PRIVACY_VIOLATION, UserError
from privfedmm.base.files import load_tensors, save_tensors
from privfedmm.config import RunConfig
from privfedmm.data import Dataset
from privfedmm.evaluation import BestRound, Ranks, from_arrays, to_arrays
from privfedmm.federation import Algorithm, FeaturePin, Saved
from privfedmm.privacy_plan.continuing import Continuation
from privfedmm.privacy_plan.keeping import (
    FileVault,
    ledger_keeper,
    overspent,
    read_ledger,
)
from privfedmm.privacy_plan.plan import PrivacyPlan
from privfedmm.runs import binding, halves, identity
from privfedmm.runs.differences import plain_config
from privfedmm.runs.folder import CHECKPOINT as CHECKPOINT

MODEL = "model.npz"


@dataclass
class Session:
    """A session holds everything that changes over rounds, and what it is computed with.

    deployed: whether the devices are elsewhere, so that their half of the model is not here.
    """

    config: RunConfig
    algorithm: Algorithm
    planned: PrivacyPlan
    stack: PrivacyStack
    statement: Statement
    state: Any
    clients: Any
    population: int
    best: BestRound
    pin: FeaturePin
    best_ranks: dict[str, Ranks] = field(default_factory=dict)
    best_model: Saved | None = None
    totals: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)  # rounds that were skipped, for they cannot open
    deployed: bool = False
    said: set[str] = field(default_factory=set)  # kinds of warnings of this process
    unprepared: int = 0  # rounds of this process that were tried again, for no keys came together

    @classmethod
    def start(
        cls, config: RunConfig, data: Dataset, folder: Path | None = None,
        transcript: Transcript | None = None, deployed: bool = False,
    ) -> Session:
        """Return a session before its first round, with its ledger kept in `folder` where given.

        transcript: is told every message of secure aggregation. deployed: whether the devices
        are elsewhere: nothing of theirs is kept then, and what is released is, even without a
        budget, for clients who answer a round but once. Raises UserError for settings that do not
        fit.
        """
        # Without a mechanism there is no budget to guard: `save` writes the ledger once a round.
        guarded = folder if config.dp is not None or deployed else None
        parts = assemble(
            config, data, keep=ledger_keeper(guarded) if guarded else None,
            vault=FileVault(guarded) if guarded else None, transcript=transcript)
        algorithm = parts.algorithm
        return cls(
            config=config,
            algorithm=algorithm,
            planned=parts.plan,
            stack=parts.stack,
            statement=parts.statement,
            state=algorithm.initial_state(),
            clients=algorithm.initial_clients(),
            population=parts.population,
            best=BestRound(config.evaluation.patience),
            pin=FeaturePin.of(algorithm.public_features),
            deployed=deployed,
        )

    def save(self, folder: Path, data_hash: str) -> None:
        """Write the ledger, then the model in its two halves, so that neither runs ahead of it.

        What devices keep goes to a folder of its own, where only the owner can read it; a server
        whose devices are elsewhere has none.
        """
        ledger = self.stack.ledger
        (ledger.keep or ledger_keeper(folder))(ledger)
        now, best = self.algorithm.to_saved(self.state, self.clients), self.best_model
        groups = None if best is None else self.algorithm.groups_of(best)
        number = None if self.deployed else self.state.round
        if number is not None:
            halves.save_devices(folder, number, now, best)
        save_tensors(
            folder / CHECKPOINT,
            {
                "data": data_hash,
                "config": json.dumps(plain_config(self.config)),
                "features": self.pin.digest.hex(),
                "model": now.released,
                "best": vars(self.best),
                "best_ranks": {
                    n: torch.from_numpy(r) for n, r in to_arrays(self.best_ranks).items()},
                "best_model": None if best is None else best.released,
                "best_groups": None if groups is None else torch.from_numpy(groups[1]),
                "totals": self.totals,
                "rows": self.rows,
                "lost": self.lost,
                "clip_shares": self.stack.clipper.shares if self.stack.clipper else [],
                "devices": number,
            },
            private=True,
        )
        if number is not None:
            halves.forget_devices(folder, number)
        save_arrays(folder / MODEL, (best or now).released)

    def checkpoint_bytes(self) -> int:
        """Return the bytes that checkpoints of this run take at most, of two rounds at once: the
        reported model and the last one, of both halves, and the released one once more."""
        now = self.algorithm.to_saved(self.state, self.clients)
        released, devices = _bytes(now.released), 0 if self.deployed else _bytes(now.devices)
        return 2 * (2 * released + 2 * devices) + released

    @property
    def played(self) -> int:
        """Return the number of rounds that were played, lost ones among them."""
        return len(self.rows) + len(self.lost)

    def goes_on(self) -> bool:
        """Return whether a round is left to play.

        Where training is over and a mix follows, it goes on from the best model before it; from
        the last one where devices are elsewhere, who hold what went with that.
        """
        mix = self.weighing
        if self.state.round > mix or self.config.dp is not None or not self.config.mix.on:
            return self.state.round < self.planned.rounds and not (
                self.best.stop and not self.config.mix.on)
        if self.state.round == mix or self.best.stop:
            if self.best_model is not None and not self.deployed:
                self.state, self.clients = self.algorithm.from_saved(self.best_model)
            self.state = replace(self.state, round=mix)
        return True

    @property
    def weighing(self) -> int:
        """Return the round that a mix begins with: that after the last where there is none."""
        return self.planned.rounds - self.config.mix.rounds

    @property
    def weighed(self) -> int:
        """Return how many rounds of the mix were played."""
        return max(self.state.round - self.weighing, 0) if self.config.mix.on else 0

    def skip(self) -> bool:
        """Go on to the next round from the same state, in place of one that is lost.

        Returns False, and does nothing, where a release is made in that round alone."""
        number = self.state.round
        if any(release.rounds == (number,) for release in self.stack.releases):
            return False
        self.state = replace(self.state, round=number + 1)
        self.lost.append(number)
        self._make_up(1)
        return True

    def _make_up(self, lost: int) -> None:
        """Plan as many more rounds as were lost, where what is released when does not go by their
        numbers."""
        if any(release.rounds is None for release in self.stack.releases):
            self.planned = replace(self.planned, rounds=self.planned.rounds + lost)

    def _complete(self, ledger: Ledger, saved: dict[str, Any]) -> None:
        """Raise LedgerError where a checkpointed round is not in the ledger: a chain that was cut
        short is still a chain."""
        if self.stack.mechanism is None and self.stack.on_device is None:
            return
        played = [row.get("number", row["round"]) - 1 for row in saved["rows"]]
        missing = [t for t in played if not ledger.released(t)]
        if missing:
            raise LedgerError(f"the ledger lacks round {missing[0]}, which the checkpoint has "
                              "played: entries were removed")

    def _bound(
        self, ledger: Ledger, folder: Path, data_hash: str, accept: bool, going_on: bool
    ) -> None:
        """Refuse a private run that is not what its ledger commits to, or is one of two copies."""
        if ledger.commitment is None:
            if self.config.dp is not None and going_on:
                raise UserError(
                    f"--resume: the ledger of {folder} does not begin with what the run promised "
                    "(earlier versions wrote none), so the two cannot be compared; start a new "
                    "run", PRIVACY_VIOLATION)
            return
        binding.refuse_changed(folder, ledger, data_hash)
        if going_on:
            place = Continuation.of(ledger)
            if place is not None:
                place.check(ledger)
            binding.refuse_other_code(ledger, folder, accept, self.deployed)

    def restore(
        self, folder: Path, data_hash: str, accept_changed_code: bool = False,
        going_on: bool = True,
    ) -> None:
        """Continue from a checkpoint. Raises UserError where it does not belong to this run.

        accept_changed_code: whether a bound run may go on with other code, which its ledger then
        says. going_on: whether rounds may follow; a run that is only read may have been made by
        other code and continued elsewhere.

        A round that was charged but not checkpointed is played again: without a mechanism it
        uploads the same values; with one, the stack hands out what was released then.
        """
        try:
            saved = load_tensors(folder / CHECKPOINT)
            key = binding.RunKey.read(folder)
            ledger = Ledger.from_json(
                read_ledger(folder), self.planned.budget, self.stack.ledger.keep,
                key.signer if key else None)
            self._complete(ledger, saved)
            self._bound(ledger, folder, data_hash, accept_changed_code, going_on)
            if saved["data"] != data_hash:
                raise UserError("--resume: the data set has changed since the run began; "
                                "start a new run")
            if "config" in saved:
                identity.refuse_other_settings(folder, json.loads(saved["config"]))
            self.pin = FeaturePin(bytes.fromhex(saved["features"]))
            model, self.best_model = halves.of_checkpoint(folder, saved, self.algorithm)
            self.state, self.clients = self.algorithm.from_saved(model)
        except LedgerError as error:
            raise overspent(error) from error
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"--resume: {folder} cannot be continued ({error})") from error
        self.best = BestRound(**saved["best"])
        self.best_ranks = from_arrays({n: r.numpy() for n, r in saved["best_ranks"].items()})
        self.totals, self.rows = saved["totals"], saved["rows"]
        self.lost = list(saved.get("lost", []))
        self._make_up(len(self.lost))
        self.stack = replace(self.stack, ledger=ledger)
        if self.stack.clipper is not None:
            self.stack.clipper.shares = list(saved["clip_shares"])


def _bytes(values: Mapping[str, Any]) -> int:
    """What nested tensors take."""
    return sum(value.nbytes if isinstance(value, torch.Tensor) else _bytes(value)
               for value in values.values() if isinstance(value, torch.Tensor | Mapping))
