"""What a command says on standard error: how much of it, and the log that keeps it."""

from __future__ import annotations

import io
import shlex
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from click import Context, get_current_context
from rich.console import Console
from rich.control import Control

from privfedmm.base.errors import UserError

QUIET, VERBOSE = "quiet", "verbose"
LOG = "log.txt"
# Titles, names of files and extras in square brackets are no markup, `:cat:` is no picture.
AS_WRITTEN: dict[str, Any] = {"markup": False, "emoji": False}
_LEVEL, _TALK = "privfedmm.level", "privfedmm.talk"


def results() -> Console:
    """Return the console for what a command is asked for: standard output, texts as they are."""
    return Console(**AS_WRITTEN)


class Talk(Console):
    """This console is standard error, and keeps what it says in a log of the folder it is about.

    A quiet one shows nothing; the log has all of it, and of a verbose one no more.
    """

    def __init__(self, level: str = "") -> None:
        super().__init__(stderr=True, quiet=level == QUIET, **AS_WRITTEN)
        self._verbose = level == VERBOSE
        self._waiting: list[str] = []
        self._folder: Path | None = None
        self._mark = ""
        self.note(f"$ {shlex.join(['privfedmm', *sys.argv[1:]])}")

    def print(self, *objects: Any, **how: Any) -> None:
        """Show something, and note it."""
        super().print(*objects, **how)
        if not all(isinstance(one, Control) for one in objects):
            self.note(_plain(objects, how))

    def note(self, text: str) -> None:
        """Note a text in the log alone, each line with its time."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self._waiting += [f"{now} {line.rstrip()}" for line in text.splitlines() if line.strip()]
        self._write()

    def detail(self, text: str) -> None:
        """Show what only a verbose console shows; the log has it from all of them."""
        if self._verbose:
            self.print(text, highlight=False, soft_wrap=True)
        else:
            self.note(text)

    def failed(self, error: UserError) -> None:
        """Note why the command ends, and show where that came from if asked to be verbose."""
        self.note(f"privfedmm: {' '.join(str(error).split())}")
        if self._verbose:
            super().print("".join(traceback.format_exception(error)), highlight=False,
                          soft_wrap=True)

    def keep(self, folder: Path, mark: str = "config.toml") -> None:
        """Keep the log in a folder, from when it holds the file `mark`: before, it is not known
        to be this command's own."""
        self._folder, self._mark = folder, mark
        self._write()

    def _write(self) -> None:
        if self._folder is None or not (self._folder / self._mark).exists():
            return
        lines, self._waiting = self._waiting, []
        try:
            with (self._folder / LOG).open("a", encoding="utf-8") as out:
                out.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            log, self._folder = self._folder / LOG, None
            self.print(f"{log} cannot be written ({error.strerror}); going on without a log",
                       highlight=False, soft_wrap=True)


def talk_of(context: Context | None = None) -> Talk:
    """Return the console of the command that is running; outside of any, one of its own."""
    context = context or get_current_context(silent=True)
    if context is None:
        return Talk()
    if _TALK not in context.meta:
        context.meta[_TALK] = Talk(context.meta.get(_LEVEL, ""))
    found: Talk = context.meta[_TALK]
    return found


def loud(context: Context, parameter: Any, asked: bool) -> bool:
    """Take in --quiet or --verbose. Raises UserError for both."""
    if asked and context.meta.setdefault(_LEVEL, parameter.name) != parameter.name:
        raise UserError("--quiet: it shows less and --verbose more; give one of them")
    return asked


def _plain(objects: tuple[Any, ...], how: dict[str, Any]) -> str:
    out = io.StringIO()
    Console(file=out, width=100, color_system=None, **AS_WRITTEN).print(*objects, **how)
    return out.getvalue()
