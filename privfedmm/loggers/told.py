"""What loggers are told of a run, and what not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from privacy.extras import check
from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig
from privfedmm.loggers.entry import Logger, LoggerEntry

_ALL = (
    LoggerEntry(name="tensorboard", summary="event files in the run folder",
                place="privfedmm.loggers.tensorboard:opened", package="tensorboard",
                extra="tensorboard", elsewhere=False),
    LoggerEntry(name="mlflow", summary="a run at $MLFLOW_TRACKING_URI, else in the run folder",
                place="privfedmm.loggers.mlflow:opened", package="mlflow", extra="mlflow",
                elsewhere=True),
    LoggerEntry(name="wandb", summary="a run of Weights & Biases, offline unless $WANDB_MODE says "
                "otherwise", place="privfedmm.loggers.wandb:opened", package="wandb",
                extra="wandb", elsewhere=True),
)
ENTRIES = {entry.name: entry for entry in _ALL}
NAMES = tuple(ENTRIES)
# What of a round a claim covers; not loss, validation metrics, numbers of users and seconds.
COVERED = ("clip_norm",)
_OURS = ("validation",)  # figures by name inside a row


class Loggers:
    """These are the loggers of one run: a callback for its rounds.

    Each begins with the first round, when there is a folder. One that fails is left out from then
    on, and said: what it would have been told is in the run folder all the same.
    """

    def __init__(self, names: Iterable[str], config: RunConfig, folder: Path,
                 tell: Callable[[str], None]) -> None:
        """names: of ENTRIES. config: the run's. folder: the run's. tell: is told what fails, and
        what is kept back. Raises UserError for an unknown name, and MissingExtra."""
        self._config, self._folder, self._tell = config, folder, tell
        self._entries = []
        for name in dict.fromkeys(names):
            if name not in ENTRIES:
                raise UserError(f"--log: there is no logger {name!r}; there are {', '.join(NAMES)}")
            check(ENTRIES[name].package, ENTRIES[name].extra, f"--log {name}")
            self._entries.append(ENTRIES[name])
        self._open: dict[str, Logger] | None = None

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Tell every logger of a finished round."""
        if self._open is None:
            self._open = {}
            for entry in self._entries:
                self._tried(entry, self._begin)
        values = dict(_figures(row))
        step = int(values.pop("round"))
        for entry in list(self._entries):
            self._tried(entry, partial(self._log, step, values))

    def finish(self, record: Mapping[str, Any]) -> None:
        """Tell the result: test metrics, and what the run has spent."""
        spent = record["privacy"]["epsilon_spent"]
        values = {} if spent is None else {"epsilon_spent": float(spent)}
        test = {f"test/{name}": value for name, value in record["metrics"]["test"].items()}
        for entry in list(self._entries) if self._open else ():
            told = values if self._keeps_back(entry) else values | test
            self._tried(entry, partial(self._end, int(record["rounds_run"]), told))

    def _end(self, step: int, values: Mapping[str, float], entry: LoggerEntry) -> None:
        if values:
            self._open_one(entry).log(step, values)

    def close(self) -> None:
        """End every logger."""
        for entry in list(self._entries) if self._open else ():
            self._tried(entry, lambda entry: self._open_one(entry).close())
        self._entries = []

    def _keeps_back(self, entry: LoggerEntry) -> bool:
        """Whether a logger is told what the claim covers and nothing else."""
        return entry.elsewhere and self._config.dp is not None

    def _begin(self, entry: LoggerEntry) -> None:
        module, _, function = entry.place.partition(":")
        title = self._config.label or f"{self._config.method}, seed {self._config.seed}"
        assert self._open is not None
        self._open[entry.name] = getattr(import_module(module), function)(
            self._folder, title, dict(_settings(self._config.model_dump(mode="json"))))
        if self._keeps_back(entry):
            self._tell(f"--log {entry.name}: it may leave this machine, so it is told what the "
                       "claim covers and nothing else; loss and metrics are in the run folder")

    def _log(self, step: int, values: Mapping[str, float], entry: LoggerEntry) -> None:
        told = {name: value for name, value in values.items()
                if name in COVERED or not self._keeps_back(entry)}
        if told:
            self._open_one(entry).log(step, told)

    def _open_one(self, entry: LoggerEntry) -> Logger:
        assert self._open is not None
        return self._open[entry.name]

    def _tried(self, entry: LoggerEntry, job: Callable[[LoggerEntry], None]) -> None:
        try:
            job(entry)
        except Exception as error:  # a library of somebody else's: whatever it raises
            self._entries = [one for one in self._entries if one is not entry]
            first = (str(error).splitlines() or [""])[0]
            self._tell(f"--log {entry.name}: it failed ({type(error).__name__}: {first}) and is "
                       "told nothing more; the run goes on, and its folder has everything")


@contextmanager
def logging(
    names: Iterable[str], config: RunConfig, folder: Path, tell: Callable[[str], None]
) -> Iterator[Loggers]:
    """Give the loggers of a run, and end them however it ends. Raises as `Loggers` does."""
    loggers = Loggers(names, config, folder, tell)
    try:
        yield loggers
    finally:
        loggers.close()


def _figures(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a row of rounds.jsonl, by name. Whatever else a row may hold is left out."""
    for name, value in row.items():
        if name in _OURS:
            yield from ((f"{name}/{inner}", found) for inner, found in _figures(value))
        elif isinstance(value, int | float):
            yield name, float(value)


def _settings(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", str(value)
