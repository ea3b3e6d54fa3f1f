"""`privfedmm run`: rounds, evaluation, checkpoints, record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from privacy import LedgerError, RoundAborted, UploadError
from privfedmm.base.errors import ABORTED, UserError
from privfedmm.base.files import append_text, write_json, write_text
from privfedmm.baselines import baseline_metrics
from privfedmm.config import RunConfig, resolve_saved, settled, to_toml
from privfedmm.data import (
    DataError,
    Dataset,
    Encoding,
    drop_features,
    feature_cache,
    hold_out_items,
    load,
    silent,
    split_by,
)
from privfedmm.encoders import Report
from privfedmm.evaluation import (
    EvalProtocol,
    Ranks,
    ScoreError,
    cold_ranks,
    evaluate_on,
)
from privfedmm.federation import Simulator
from privfedmm.privacy_plan.keeping import LEDGER, overspent
from privfedmm.runs import binding, folder, identity, notices
from privfedmm.runs import record as records
from privfedmm.runs.account import Account
from privfedmm.runs.attempts import goes_on
from privfedmm.runs.finished import RANKS as RANKS
from privfedmm.runs.finished import RECORD as RECORD
from privfedmm.runs.finished import ROUNDS as ROUNDS
from privfedmm.runs.finished import RecordError, read_record, save_ranks
from privfedmm.runs.folder import held_folder, new_folder
from privfedmm.runs.rounds import Means as Means
from privfedmm.runs.rounds import judge, play_round
from privfedmm.runs.session import MODEL, Session
from privfedmm.runs.shape import DEPLOY, deployed_by

CONFIG, STATEMENT = binding.CONFIG, binding.STATEMENT
Listener = Callable[[dict[str, Any]], None]
Announce = Callable[[list[str]], None]


class StopTraining(Exception):
    """A listener to rounds raises this to make the round just told the last."""


def load_data(config: RunConfig, report: Report = silent) -> Dataset:
    """Load the data of a config, encoded where it is raw. Raises UserError for faults in it."""
    try:
        how = Encoding(config.encoders, feature_cache(), report)
        return changed(load(config.dataset, k_core=config.k_core, seed=config.split_seed,
                            max_users=config.max_users, encoding=how,
                            unit=config.catalogue_unit, reading=config.reading), config)
    except DataError as error:
        raise UserError(f"dataset: {error}") from error


def changed(data: Dataset, config: RunConfig) -> Dataset:
    """Return data as the config wants it changed: split another way, features dropped, items held
    out of training.

    Raises DataError where that cannot be done.
    """
    data = split_by(data, config.split)
    if config.drop_features:
        data = drop_features(data, config.drop_features, config.split_seed)
    if config.cold_items:
        data = hold_out_items(data, config.cold_items, config.split_seed)
    return data


def start(
    config: RunConfig, out: Path, listen: Listener, announce: Announce = lambda lines: None,
    report: Report = silent, dataset_budget: float | None = None,
    describe: Announce = lambda lines: None,
) -> dict[str, Any]:
    """Start a new run in folder `out`, which must be absent or empty, and return its record.

    announce: is told what the run promises, before its first round. report: is told of encoding.
    dataset_budget: what all private runs on the data's users together may cost from now on, in
    epsilon; None leaves that as it is. describe: is told what was read of the data.
    """
    with new_folder(out):
        records.set_threads(config.threads)
        data = replace(load_data(config, report), resplit=None)  # which keeps all that was read
        if data.summary is not None:
            describe(data.summary.sentences())
        if dataset_budget is not None:
            Account(data).limit(dataset_budget)
        return _in_held(config, data, out, listen, announce)[1]


def in_folder(
    config: RunConfig, data: Dataset, out: Path, listen: Listener,
    announce: Announce = lambda lines: None,
) -> tuple[Session, dict[str, Any]]:
    """Play a whole run on data that are there, in folder `out`. Return its session and its record.

    Raises UserError as `start` does.
    """
    with new_folder(out):
        return _in_held(config, data, out, listen, announce)


def _in_held(
    config: RunConfig, data: Dataset, out: Path, listen: Listener, announce: Announce
) -> tuple[Session, dict[str, Any]]:
    session = open_folder(config, data, out, announce)
    play(session, data.sha256, out, listen, in_one_process(session, data))
    return session, conclude(session, data, out, records.SIMULATOR)


def in_memory(
    config: RunConfig, data: Dataset, listen: Listener,
    announce: Announce = lambda lines: None,
) -> tuple[Session, dict[str, Any]]:
    """Play a whole run of which nothing is written. Return its session and its record.

    A budget holds all the same: its ledger is in the session. Raises UserError as `start` does.
    """
    config = settled(config, data.train_age is not None)
    session = Session.start(config, data)
    account = Account(data)
    run = account.open(session, None)
    if config.dp is not None:
        announce([*session.statement.lines(), *notices.of_plan(session)])
    play(session, data.sha256, None, listen, in_one_process(session, data))
    record = conclude(session, data, None, records.SIMULATOR)
    account.close(run, session.stack.ledger.entries)
    return session, record


def resume(
    out: Path, listen: Listener, accept_changed_code: bool = False
) -> dict[str, Any]:
    """Continue the run in folder `out` and return its record, at once where the run is finished.

    accept_changed_code: whether a private run may go on with other code than it began with. Raises
    UserError, where the folder is not what its ledger commits to among others.
    """
    if not (out / CONFIG).exists():
        raise UserError(f"--resume: {out} is no run folder; it has no {CONFIG}")
    if (out / RECORD).exists():
        return finished(out)
    if (out / DEPLOY).exists():
        raise UserError(f"--resume: the clients of {out} are on nodes; continue with: privfedmm "
                        f"{deployed_by(out)} --resume {out}")
    with held_folder(out):
        if (out / RECORD).exists():  # another process was faster
            return finished(out)
        binding.refuse_changed_folder(out)
        config = resolve_saved(out / CONFIG)
        records.set_threads(config.threads)
        data = load_data(config)
        session = Session.start(config, data, out)
        session.restore(out, data.sha256, accept_changed_code)
        play(session, data.sha256, out, listen, in_one_process(session, data))
        return conclude(session, data, out, records.SIMULATOR)


def finished(out: Path) -> dict[str, Any]:
    """Return the record of a finished run.

    Raises UserError where it is damaged, and where the folder is not what its record and its
    ledger say.
    """
    if (out / LEDGER).exists():
        binding.refuse_changed_folder(out)
    try:
        record = read_record(out)
    except RecordError as error:
        raise UserError(f"--resume: {error}; remove that file, and it is made anew from the "
                        "checkpoint") from error
    identity.refuse_edited(out, record)
    return record


def open_folder(
    config: RunConfig, data: Dataset, out: Path, announce: Announce, deployed: bool = False
) -> Session:
    """Return a session before its first round, and write its config, statement and checkpoint.

    The session's config, and the folder's, is settled by the data. deployed: as for `Session`.
    Raises UserError. Where the disk does not take the first checkpoint nothing of it is left.
    """
    config = settled(config, data.train_age is not None)
    session = Session.start(config, data, out, deployed=deployed)
    before = set(out.iterdir()) if out.exists() else set()
    try:
        begin(session, data, out)
    except OSError:
        folder.forget(out, before)
        raise
    if config.dp is not None:
        announce([*session.statement.lines(), *notices.of_plan(session)])
    return session


def begin(session: Session, data: Dataset, out: Path) -> None:
    """Write the config, statement and checkpoint of a session before its first round.

    A private run is charged to the account of the data's users. Raises UserError where that is
    overspent.
    """
    account = Account(data)
    account.check(session)
    out.mkdir(parents=True, exist_ok=True)
    folder.refuse_small(out, session.checkpoint_bytes())
    write_text(out / CONFIG, to_toml(session.config))
    if session.config.dp is not None:
        write_json(out / STATEMENT, session.statement.to_json())
        binding.commit(session.stack.ledger, out, session.config, session.statement, data.sha256)
    charged = account.open(session, out)
    try:
        session.save(out, data.sha256)
    except OSError:
        account.withdraw(charged)
        raise


def protocol_of(config: RunConfig) -> EvalProtocol:
    """Return the protocol by which models are ranked."""
    judged = config.evaluation
    return EvalProtocol(judged.sampled_negatives, config.seed, judged.metrics)


def in_one_process(session: Session, data: Dataset) -> Means:
    """Return the means by which one process plays all clients."""
    protocol = protocol_of(session.config)

    def ranks(session: Session) -> Mapping[str, Ranks]:
        def score(users: np.ndarray) -> np.ndarray:
            return session.algorithm.scores(session.state, session.clients, users).numpy()

        found = dict(evaluate_on(score, data, protocol).ranks)
        if data.cold is not None and data.cold_target is not None:
            found["test_cold"] = cold_ranks(score, data.cold, data.cold_target)
        return found

    return Means(Simulator(session.pin), ranks)


def play(
    session: Session, data_hash: str, out: Path | None, listen: Listener, means: Means
) -> None:
    """Play the rounds that are left and write a checkpoint after each. Raises UserError.

    out: the run folder, None to write nothing. listen: is told of every round; one that raises
    StopTraining makes this round the last.
    """
    if out is not None:
        write_text(out / ROUNDS, "".join(json.dumps(row) + "\n" for row in session.rows))
    try:
        while session.goes_on():
            try:
                row = play_round(session, means)
            except RoundAborted as error:
                if not goes_on(session, error):
                    raise
                if out is not None:
                    session.save(out, data_hash)
                continue
            if out is not None:
                append_text(out / ROUNDS, json.dumps(row) + "\n")
                session.save(out, data_hash)
            listen(row)
    except StopTraining:
        _stopped(session, means)
    except LedgerError as error:
        raise overspent(error) from error
    except RoundAborted as error:
        raise UserError(
            f"round {session.state.round + 1} was aborted: {error}" + (
                "" if out is None else f"; continue with: privfedmm {means.command} --resume "
                f"{out}"), ABORTED) from error
    except (UploadError, ScoreError) as error:
        raise UserError(f"round {session.state.round + 1}: {error}") from error
    except ValueError as error:
        raise UserError(str(error)) from error


def _stopped(session: Session, means: Means) -> None:
    """End a run before its last round, and judge it where it never was. Raises UserError."""
    if session.config.dp is not None:
        raise UserError("stop: under a budget the number of rounds is part of what was promised, "
                        "and stopping by what a round told would be a release; set rounds instead")
    if not session.best_ranks:
        judge(session, means.ranks(session), session.played - 1)


def conclude(
    session: Session, data: Dataset, out: Path | None, carried: records.Carried
) -> dict[str, Any]:
    """Write baselines, record and ranks of a run whose rounds are over, and return its record.

    out: the run folder, None to write nothing. Raises UserError.
    """
    config, protocol = session.config, protocol_of(session.config)
    if not session.best_ranks:
        raise UserError("no node reported ranks, so there is nothing to record"
                        + ("" if out is None else f"; the model is in {out / MODEL}"))
    started = time.perf_counter()
    try:
        lines = baseline_metrics(data, config.baselines, config.seed, protocol)
    except ValueError as error:
        raise UserError(str(error)) from error
    session.totals["seconds_baselines"] = time.perf_counter() - started
    result = records.build(session, data, protocol, lines, carried)
    if out is not None:
        save_ranks(out / RANKS, session.best_ranks)
        write_json(out / RECORD, result)
        bound = session.stack.ledger.commitment
        if bound is not None:
            Account(data).close(str(bound["run"]), session.stack.ledger.entries)
    return result
