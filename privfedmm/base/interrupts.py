"""Ctrl-C, at a moment that leaves nothing half done and loses nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from privfedmm.base.errors import INTERRUPTED, UserError

Handler = Callable[[int, FrameType | None], Any] | int | None


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


def resumable(
    job: Callable[[], dict[str, Any]], folder: Path, command: str = "run"
) -> dict[str, Any]:
    """Run a job and return its result. A Ctrl-C becomes a UserError that says how to go on."""
    try:
        return job()
    except KeyboardInterrupt:
        raise UserError(
            f"stopped; continue with: privfedmm {command} --resume {folder}", INTERRUPTED
        ) from None
