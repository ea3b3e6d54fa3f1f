"""A run folder: new ones are empty, one process at a time writes there, on a disk that takes it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from privfedmm.base.errors import UserError
from privfedmm.base.files import whole
from privfedmm.base.interrupts import begun
from privfedmm.base.state_folder import state_folder

LOCK, _PROBE = "run.lock", "probe"
CHECKPOINT = "checkpoint.pt"
DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG,
                  errno.EIO})
_SMALLEST = 64 * 1024  # bytes that every run writes: config, ledger, statement, record


@contextmanager
def new_folder(out: Path) -> Iterator[None]:
    """Hold a folder for a new run, from before its data are read until its record is there.

    It is made where it is absent; where the run ends before it has written anything, nothing of it
    is left. Raises UserError where the folder holds something or another process is at work in it,
    and where it cannot be written, from within the block too.
    """
    begun()
    made = not out.exists()
    if not made and not out.is_dir():
        raise _not_empty(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(error, out) from error
    try:
        with _locked(out, "--out"):
            refuse_full(out)
            with told(out):
                _probe(out)
                yield
    finally:
        if made and is_empty(out):
            shutil.rmtree(out, ignore_errors=True)


@contextmanager
def held_folder(out: Path) -> Iterator[None]:
    """Hold the folder of a run that goes on. Raises UserError as `new_folder` does."""
    begun()
    with _locked(out, "--resume"), told(out):
        _probe(out)
        yield


def refuse_full(out: Path) -> None:
    """Refuse a run folder that is not empty. Raises UserError for one."""
    if out.exists() and (not out.is_dir() or not is_empty(out)):
        raise _not_empty(out)


def is_empty(out: Path) -> bool:
    """Return whether a folder holds nothing but the lock of whoever looks."""
    return all(path.name == LOCK for path in out.iterdir())


def forget(out: Path, kept: Collection[Path]) -> None:
    """Remove what a folder holds beside `kept`: what a run wrote that could not begin."""
    for path in set(out.iterdir()) - set(kept):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def refuse_small(out: Path, needed: int) -> None:
    """Refuse a disk on which a run's files, of `needed` bytes, have no room.

    Raises UserError. A run that would end in its first round for want of space ends before it.
    """
    free = shutil.disk_usage(out).free
    if free < needed + _SMALLEST:
        raise UserError(f"--out: {out} has {free / 1024:,.0f} KiB of room left, and checkpoints of "
                        f"this run take {(needed + _SMALLEST) / 1024:,.0f} KiB; make room, or name "
                        "a folder on another disk")


@contextmanager
def told(out: Path) -> Iterator[None]:
    """Make of a disk that is full or cannot be written one sentence. Raises UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK or not _ours(error, out):
            raise
        raise unwritable(error, out) from error


def unwritable(error: OSError, out: Path) -> UserError:
    """Return what to tell a user whose run folder, or a file of it, cannot be written."""
    place = Path(error.filename) if error.filename else out
    why = error.strerror or str(error)
    if not _within(place, out):
        return UserError(f"{place} cannot be written ({why}), and private runs are remembered "
                         "there; make room, or set PRIVFEDMM_STATE to a folder that can")
    if (out / CHECKPOINT).exists():
        return UserError(f"--out: {out} cannot be written ({why}); mend that, and continue with "
                         f"--resume {out}: what was written before is whole")
    return UserError(f"--out: {out} cannot be written ({why}); make room, or name a folder that "
                     "can be")


def _not_empty(out: Path) -> UserError:
    return UserError(f"--out: {out} exists and is not empty; name another folder, or continue "
                     f"that run with --resume {out}")


def _ours(error: OSError, out: Path) -> bool:
    """Whether an error is about what the run writes, and not about data that it reads."""
    if not error.filename:
        return True
    place = Path(error.filename)
    try:
        return _within(place, out) or _within(place, state_folder())
    except UserError:  # of a user without a home nothing was remembered
        return False


def _within(place: Path, folder: Path) -> bool:
    return place.absolute().is_relative_to(folder.absolute())


def _probe(out: Path) -> None:
    """Write as much as the smallest run does, flushed to disk, and remove it. Raises OSError."""
    try:
        with whole(out / _PROBE) as file:
            file.write(b"\0" * _SMALLEST)
    finally:
        (out / _PROBE).unlink(missing_ok=True)


@contextmanager
def _locked(out: Path, option: str) -> Iterator[None]:
    """Hold the lock of a folder; the system lets go of it whenever the process ends."""
    path = out / LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise unwritable(error, out) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have removed it, with a folder in which nothing was begun.
            mine = path.exists() and path.stat().st_ino == os.fstat(handle).st_ino
        except BlockingIOError:
            mine = False
        if not mine:
            raise UserError(f"{option}: another process is at work in {out}; wait until it is "
                            "done, or name another folder")
        try:
            yield
        finally:
            if is_empty(out):
                path.unlink(missing_ok=True)
    finally:
        os.close(handle)
