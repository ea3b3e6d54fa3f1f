"""`privfedmm tune`: looks at validation metrics, one run each, resumable; tune.json, best.toml."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w

from privfedmm.base.errors import BAD_INPUT, UserError
from privfedmm.base.files import finite, write_json, write_text
from privfedmm.config import RunConfig, TunedSettings, read_toml, resolve, settled, to_toml
from privfedmm.data import Dataset
from privfedmm.evaluation import cut_of
from privfedmm.runs import run as runs
from privfedmm.runs.account import Account, kept, planned_run
from privfedmm.runs.folder import held_folder, new_folder
from privfedmm.runs.record import set_threads
from privfedmm.runs.rounds import Means
from privfedmm.runs.session import Session
from privfedmm.tuning.parameters import Parameter
from privfedmm.tuning.price import accepted, price_of, said
from privfedmm.tuning.trials import Look, Trials, installed, opened

PLAN, GIVEN, RESULT, BEST = "plan.toml", "given.toml", "tune.json", "best.toml"
METRIC, TRIALS = "ndcg@50", 20
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Search:
    """This is what a search is: of which run, over which settings, by which metric.

    flags: the run's settings by path, over those of `file`. texts: the parameters, each as typed.
    trials: how many looks. Raises UserError, when it is made, for what cannot be searched.
    """

    flags: Mapping[str, Any]
    texts: tuple[str, ...]
    metric: str = METRIC
    trials: int = TRIALS
    file: Path | None = None

    def __post_init__(self) -> None:
        try:
            cut_of(self.metric)
        except ValueError as error:
            raise UserError(f"--metric: {error}") from error
        if self.trials < 1:
            raise UserError(f"--trials: {self.trials} must be 1 or more")
        if not self.texts:
            raise UserError("tune: give a setting to choose, as --param "
                            "algorithm.local.lr_user=1e-3..1e-1:log")
        paths = [parameter.path for parameter in self.parameters]
        twice = [path for path in paths if paths.count(path) > 1]
        given = [path for path in paths if self.flags.get(path) is not None]
        if twice or given:
            raise UserError(f"--param {(twice or given)[0]}: it is given twice; leave one out")
        for parameter in self.parameters:
            for value in parameter.ends():
                self.config({parameter.path: value})

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Return the settings that are chosen."""
        return tuple(Parameter.parse(text, self.config({}).method) for text in self.texts)

    def config(self, values: Mapping[str, Any]) -> RunConfig:
        """Return the run's config with chosen values. Raises UserError as `resolve` does."""
        return resolve(self.file, {**self.flags, **values})

    def write(self, folder: Path) -> None:
        """Keep it in a folder, with its file."""
        if self.file is not None:
            shutil.copyfile(self.file, folder / GIVEN)
        flags = {path: value for path, value in self.flags.items() if value is not None}
        write_text(folder / PLAN, tomli_w.dumps({
            "metric": self.metric, "trials": self.trials, "params": list(self.texts),
            "flags": flags}))

    @classmethod
    def read(cls, folder: Path, trials: int | None) -> Search:
        """Read what `write` kept. trials: how many looks in all, None for as many as planned."""
        if not (folder / PLAN).exists():
            raise UserError(f"--resume: {folder} holds no search; it has no {PLAN}")
        held = read_toml(folder / PLAN)
        given = folder / GIVEN
        return cls(flags=held["flags"], texts=tuple(held["params"]), metric=held["metric"],
                   trials=trials or held["trials"], file=given if given.exists() else None)


def start(search: Search, out: Path, accept: bool, tell: Tell) -> dict[str, Any]:
    """Play a search in folder `out`, which must be absent or empty, and return its result.

    accept: whether the price of a search under a budget is accepted. tell: is told every look, and
    what they cost. Raises UserError.
    """
    installed()
    with new_folder(out):
        return _search(search, out, accept, tell, True)


def resume(out: Path, trials: int | None, accept: bool, tell: Tell) -> dict[str, Any]:
    """Continue the search in a folder, up to `trials` looks in all, and return its result."""
    installed()
    search = Search.read(out, trials)
    with held_folder(out):
        return _search(search, out, accept, tell, False)


def _search(search: Search, out: Path, accept: bool, tell: Tell, new: bool) -> dict[str, Any]:
    base = search.config({})
    set_threads(base.threads)
    data = runs.load_data(base)
    planned = None if base.dp is None else planned_run(
        Session.start(_settled(base, data), data), None)
    if new:  # before there is anything in the folder
        _accepted([], planned, search.trials, search.trials, accept)
    with opened(out) as trials:
        if new:
            search.write(out)
        rows = trials.rows()
        left = search.trials - sum(row["state"] != "interrupted" for row in rows)
        if left > 0:
            _accepted(trials.lines(), planned, left, len(rows) + left, accept)
        for _ in range(left):
            _look(search, data, trials.ask(search.parameters, base.seed), tell)
            _write(search, out, data, trials)
        result = _write(search, out, data, trials)
    if result["best"] is None:
        raise UserError(f"tune: none of {result['looks']} looks came to its end; the first: "
                        f"{result['trials'][0]['why'] or 'it was interrupted'}")
    return result


def _accepted(
    lines: list[dict[str, Any]], planned: dict[str, Any] | None, left: int, looks: int,
    accept: bool,
) -> None:
    if planned is not None:
        accepted(price_of([*lines, *[planned] * (left + 1)]), looks, accept)


def _settled(config: RunConfig, data: Dataset) -> RunConfig:
    return settled(config, data.train_age is not None)


def _look(search: Search, data: Dataset, look: Look, tell: Tell) -> None:
    """Play one run and keep its validation metric. One whose settings do not fit has failed."""
    try:
        value = _value(search, data, look)
    except KeyboardInterrupt:
        look.fail("")
        raise
    except UserError as error:
        if error.code != BAD_INPUT:
            look.fail("")
            raise
        look.fail(str(error))
        tell(f"look {look.number}: {_typed(look.values)}: {error}")
        return
    look.finish(value)
    tell(f"look {look.number}: {_typed(look.values)}: validation {search.metric} {value:.4f}")


def _value(search: Search, data: Dataset, look: Look) -> float:
    config = _settled(search.config(look.values), data)
    label = f"{config.label or config.method}, look {look.number} of a search"
    session = Session.start(config.model_copy(update={"label": label}), data)
    line, account = planned_run(session, None), Account(data)
    account.check(session)
    look.charge(line)
    run = account.open(session, None)
    whole = runs.in_one_process(session, data)
    # Nothing is kept of how test items are ranked: no choice may depend on it.
    means = Means(whole.backend, lambda session: {
        "validation": whole.ranks(session)["validation"]})
    runs.play(session, data.sha256, None, lambda row: None, means)
    entries = session.stack.ledger.entries
    account.close(run, entries)
    look.charge(None if line is None else {**line, "finished": True, "charges": kept(entries)})
    return cut_of(search.metric).mean(session.best_ranks["validation"])


def _write(search: Search, out: Path, data: Dataset, trials: Trials) -> dict[str, Any]:
    """Write what is known so far: tune.json, and best.toml where a look has come to its end."""
    rows, lines = trials.rows(), trials.lines()
    finished = [row for row in rows if row["state"] == "finished"]
    best = max(finished, key=lambda row: float(row["value"]), default=None)
    base = search.config({})
    # A search that begins where another ended has looked that often before.
    looks = len(rows) + (base.tuned.looks if base.tuned else 0)
    price = None
    if best is not None:
        config = search.config(best["settings"])
        last = None if config.dp is None else planned_run(
            Session.start(_settled(config, data), data), None)
        price = price_of([*lines, last]) if last else None
        tuned = TunedSettings(
            looks=looks, metric=search.metric, settings=_paths(search, base),
            epsilon=None if price is None else finite(price.epsilon))
        write_text(out / BEST, to_toml(config.model_copy(update={"tuned": tuned})))
    result = {
        "format": 1, "dataset": data.name, "metric": f"validation {search.metric}",
        "parameters": list(search.texts), "looks": looks, "trials": rows, "best": best,
        "price": None if price is None else asdict(price),
        "said": said(price, base.dp is not None, looks),
        "command": None if best is None else f"privfedmm run --config {out / BEST}"}
    write_json(out / RESULT, result)
    return result


def _paths(search: Search, base: RunConfig) -> tuple[str, ...]:
    before = base.tuned.settings if base.tuned else ()
    return tuple(dict.fromkeys((*before, *(p.path for p in search.parameters))))


def _typed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}={shown(value)}" for path, value in values.items())


def shown(value: Any) -> str:
    """Return a chosen value as a table shows it."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(
        value, str) else str(value)

