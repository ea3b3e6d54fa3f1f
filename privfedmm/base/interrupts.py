"""Ctrl-C, at a moment that leaves nothing half done and loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from privfedmm.base.errors import INTERRUPTED, UserError

Handler = Callable[[int, FrameType | None], Any] | int | None
BEGUN = "config.toml"  # what a run folder has from its beginning on
_SHOW_CURSOR = "\x1b[?25h"


def end_at_once() -> None:
    """Let a Ctrl-C end this process with one line and the exit code of an interrupt, until `begun`.

    While libraries load there is nothing to wind up, and an exception in the middle of it comes out
    as a long traceback, or as another error than an interrupt.
    """
    signal.signal(signal.SIGINT, _end)


def begun() -> None:
    """Say that there is something to wind up from here on: a Ctrl-C is a KeyboardInterrupt again.

    It changes nothing where `end_at_once` was not called, as in a notebook.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(RuntimeError):  # it was in the middle of writing that
        sys.stdout.flush()
    # A bar hides the cursor; whoever is shown no bar is sent no signs of a terminal.
    shown = _SHOW_CURSOR if os.isatty(2) else ""
    os.write(2, f"{shown}privfedmm: stopped\n".encode())
    os._exit(INTERRUPTED)


@contextmanager
def held() -> Iterator[None]:
    """Let a Ctrl-C wait until the block is done.

    An exception from inside torch's zip writer comes out as a RuntimeError about file positions,
    no longer as an interrupt; so nothing is interrupted while it writes.
    """
    # Python delivers signals to the main thread alone, and only there can they be handled.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []
    before: Handler = signal.signal(
        signal.SIGINT, lambda number, frame: waiting.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting and callable(before):
        before(*waiting[-1])


@contextmanager
def ignored() -> Iterator[None]:
    """Ignore a Ctrl-C in a block, and in the processes that are started in it as long as they live.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def resumable(
    job: Callable[[], dict[str, Any]], folder: Path, command: str = "run", mark: str = BEGUN
) -> dict[str, Any]:
    """Run a job and return its result. A Ctrl-C becomes a UserError that says how to go on.

    mark: the file that the folder has as soon as there is something to go on with.
    """
    try:
        return job()
    except KeyboardInterrupt:
        if not (folder / mark).exists():
            raise UserError("stopped before it began", INTERRUPTED) from None
        raise UserError(
            f"stopped; continue with: privfedmm {command} --resume {folder}", INTERRUPTED
        ) from None
