"""Where this machine remembers, for one user, what no run folder can say of itself."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from privfedmm.base.errors import UserError


def state_folder() -> Path:
    """Return $PRIVFEDMM_STATE, else $XDG_STATE_HOME/privfedmm, else ~/.local/state/privfedmm.

    Raises UserError where none of them is known.
    """
    given = os.environ.get("PRIVFEDMM_STATE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME")
    if base:
        return Path(base) / "privfedmm"
    try:
        return Path.home() / ".local" / "state" / "privfedmm"
    except RuntimeError as error:
        raise UserError("this user has no home folder, and private runs are remembered there; set "
                        "PRIVFEDMM_STATE to a folder that is kept") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file of the state folder, so that one process at a time reads and writes
    it; its folder is made where it is absent. Raises UserError where that cannot be done."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(f"{path.parent} cannot be written ({error.strerror}), and private runs are "
                        "remembered there; set PRIVFEDMM_STATE to a folder that can") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
