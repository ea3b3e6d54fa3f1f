"""Load data, train a run, open a finished one: no arguments of a command line, no globals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig, resolve
from privfedmm.data import DataError, Dataset
from privfedmm.front.run import Run
from privfedmm.loggers import logging
from privfedmm.runs import run as runs
from privfedmm.runs.finished import RecordError, read_ranks, read_record
from privfedmm.runs.session import Session

Callback = Callable[[dict[str, Any]], object]
_FLAGS = {
    "dp_epsilon": "dp.epsilon", "dp_delta": "dp.delta", "trust": "dp.trust", "unit": "dp.unit",
    "sampling": "dp.sampling", "sampling_rate": "dp.sampling_rate", "noise": "dp.noise",
    "patience": "evaluation.patience", "backbone": "algorithm.model.backbone",
    "modalities": "algorithm.modalities",
}


def load(source: str | Path | Dataset, **settings: Any) -> Dataset:
    """Load a data set by name (`planted`, `planted:N`, `ml-100k`) or folder, or take a Dataset.

    settings: those of the data, as in a config: k_core, split, split_seed, max_users, cold_items,
    drop_features. Items and users are filtered as a run without a budget has them; `train` goes
    over to the public catalogue by itself where a budget asks for it. Raises UserError with what is
    wrong and what to do.

    >>> import privfedmm as pf
    >>> data = pf.load("planted:60")
    >>> data.num_users
    60
    """
    config = resolve(None, {"dataset": "planted", **settings})
    if isinstance(source, Dataset):
        return _changed(source, config)
    return runs.load_data(config.model_copy(update={"dataset": str(source)}))


def _changed(data: Dataset, config: RunConfig) -> Dataset:
    try:
        unit = config.catalogue_unit
        if unit and not data.public_items and data.over_catalogue is not None:
            data = data.over_catalogue(unit=unit)
        return runs.changed(data, config)
    except DataError as error:
        raise UserError(f"dataset: {error}") from error


def train(
    data: str | Path | Dataset, method: str | None = None, *, rounds: int | None = None,
    seed: int = 0, dp_epsilon: float | None = None, aggregation: str | None = None,
    settings: Mapping[str, Any] | None = None, config: str | Path | None = None,
    out: str | Path | None = None, callbacks: Iterable[Callback] = (),
    announce: Callable[[list[str]], None] = lambda lines: None, log: Iterable[str] = (),
    **more: Any,
) -> Run:
    """Train, evaluate and give back the run.

    data: name, folder or Dataset. method: None for gfmfr, or group_statistics under a budget.
    settings: any others by dotted path, as --set takes them: {"algorithm.local.epochs": 3}; of a
    registered method {"settings.dim": 16}. config: a TOML file under all that is given here. out:
    a run folder to write; None writes nothing. callbacks: each told the row of every round; one
    that returns True ends training after it. announce: told what a private run promises, before
    its first round. log: loggers by name, of a run with `out`: tensorboard, mlflow, wandb. more:
    patience, trust, unit, sampling, sampling_rate, noise, dp_delta, backbone, modalities, or any
    setting at the top of a config (k_core, group_statistics, baselines, ...).
    Raises UserError for settings that do not fit, in one sentence that names the field.

    >>> import privfedmm as pf
    >>> run = pf.train("planted:60", method="popularity", dp_epsilon=2.0, noise="simulation")
    >>> bool(run.epsilon <= 2.0)
    True
    """
    flags: dict[str, Any] = {
        "method": method, "rounds": rounds, "seed": seed, "dp.epsilon": dp_epsilon,
        "aggregation": aggregation,
        **{_FLAGS.get(name, name): value for name, value in more.items()}, **(settings or {})}
    flags["dataset"] = data.name if isinstance(data, Dataset) else str(data)
    resolved = resolve(Path(config) if config else None, flags)
    told = list(callbacks)

    def listen(row: dict[str, Any]) -> None:
        answers = [callback(row) for callback in told]  # all are told, whatever one answers
        if True in answers:
            raise runs.StopTraining

    names = list(log)
    if names and out is None:
        raise UserError(f"log: {names[0]} begins in a run folder; give out=FOLDER as well")
    used = _changed(data, resolved) if isinstance(data, Dataset) else runs.load_data(resolved)
    if out is None:
        session, record = runs.in_memory(resolved, used, listen, announce)
    else:
        with logging(names, resolved, Path(out), lambda line: announce([line])) as loggers:
            told.insert(0, loggers)
            session, record = runs.in_folder(resolved, used, Path(out), listen, announce)
            loggers.finish(record)
    return Run(session.config, record, session.rows, session.stack.ledger.to_json(),
               session.best_ranks, partial(_best, session), lambda: used,
               None if out is None else Path(out))


def _best(session: Session) -> tuple[Any, Any, Any]:
    """Algorithm, state and clients of the reported round."""
    saved = session.best_model or session.algorithm.to_saved(session.state, session.clients)
    return session.algorithm, *session.algorithm.from_saved(saved)


def open_run(folder: str | Path) -> Run:
    """Open the finished run of a folder. Its data are loaded when they are asked for.

    Raises UserError where there is none, or its data has changed since.
    """
    from privfedmm.audit.budget import read_run
    from privfedmm.runs.recommend import restored

    place = Path(folder)
    record, config, ledger = read_run(place)
    try:
        record, ranks = read_record(place), read_ranks(place)
    except RecordError as error:
        raise UserError(f"open_run: {error}; put back a whole copy, or make the run anew"
                        ) from error
    rows = [json.loads(line) for line in
            (place / runs.ROUNDS).read_text(encoding="utf-8").splitlines()]
    kept: dict[str, Dataset] = {}

    def data() -> Dataset:
        if "data" not in kept:
            kept["data"] = runs.load_data(config)
        return kept["data"]

    def restore() -> tuple[Any, Any, Any]:
        algorithm, state, clients, _ = restored(place, config, data())
        return algorithm, state, clients

    return Run(config, record, rows, list(ledger), ranks, restore, data, place)
