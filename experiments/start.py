"""The program `privfedmm` from its first line on: a Ctrl-C ends it quietly, whatever it is loading.

This file imports nothing of ours at its top: loading the rest takes seconds, and belongs to what a
Ctrl-C may cut short.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line as a process of its own."""
    # At once: raised inside the locks of an import, an interrupt would be ignored by Python.
    signal.signal(signal.SIGINT, _stop)
    try:
        from privfedmm.base.interrupts import end_at_once

        end_at_once()
        from experiments.cli import main as run

        run()
    except KeyboardInterrupt:  # where the run has a handler that raises
        _stop(signal.SIGINT, None)


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(2, b"privfedmm: stopped\n")
    os._exit(130)
