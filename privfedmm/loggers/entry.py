"""What a logger is, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Logger(Protocol):
    """This is whom a run tells figures by name, a step at a time."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the figures of a step."""

    def close(self) -> None:
        """End, with everything written or sent."""


class Open(Protocol):
    """This is a function that begins the log of a run."""

    def __call__(self, folder: Path, title: str, settings: Mapping[str, str]) -> Logger:
        """Return a logger. folder: the run's, where it may leave files. title: the run's name.
        settings: those of its config, by path."""


@dataclass(frozen=True, kw_only=True)
class LoggerEntry:
    """This says of a logger what has to be known to use it.

    place: the module and function that open it, as "module:function". package, extra: what it
    needs, and the extra of privfedmm that brings it. elsewhere: whether what it is told may leave
    this machine.
    """

    name: str
    summary: str
    place: str
    package: str
    extra: str
    elsewhere: bool
