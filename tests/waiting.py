"""Waiting for what another process does. No clock: a busy machine is no fault of the code."""

from __future__ import annotations

import time
from collections.abc import Callable

STAYS = "import signal; signal.pause()"  # a program that ends when it is ended, and not before


def wait_until(there: Callable[[], bool], alive: Callable[[], bool], pause: float = 0.05) -> None:
    """Return once something is there. Fails where whoever is to bring it has ended without it.

    What hangs for ever is ended by whoever runs the tests; `faulthandler_timeout` says where.
    """
    while not there():
        if not alive():
            assert there(), "the process ended before that was there"
            return
        time.sleep(pause)
