"""Files that are either whole or not there."""

from __future__ import annotations

import json
import math
import os
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from privfedmm.base.interrupts import held


def write_text(path: Path, text: str) -> None:
    """Write a text by way of a temporary file in the same folder, flushed to disk before the
    rename."""
    with whole(path) as out:
        out.write(text.encode("utf-8"))


def append_text(path: Path, text: str) -> None:
    """Append a text to a file; where the disk has no room for all of it, none of it is left."""
    left = memoryview(text.encode("utf-8"))
    # Unbuffered: what did not fit is not tried again when the file is closed.
    with path.open("ab", buffering=0) as out:
        before = out.tell()
        try:
            while left:
                left = left[out.write(left):]
        except OSError as error:
            os.truncate(path, before)
            error.filename = error.filename or str(path)
            raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON in the way of `write_text`. Raises ValueError for infinite and NaN
    numbers, which JSON does not know."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def flush_folder(folder: Path) -> None:
    """Make names durable that were added, replaced or removed in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save_tensors(path: Path, value: Any, private: bool = False) -> None:
    """Write a value with `torch.save`; the file is whole or not there.

    private: whether nobody but the owner may open it, from its first byte on. Raises OSError where
    it cannot be written.
    """
    with held(), whole(path, private) as out:
        told = _Told(out)
        try:
            torch.save(value, cast(BinaryIO, told))
        except RuntimeError as error:
            # torch makes of a disk that is full a fault in its own positions.
            raise (told.fault or error) from error


class _Told:
    """A file that remembers why it could not be written."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._out.write(data)
        except OSError as error:
            self.fault = error
            raise

    def flush(self) -> None:
        """Hand on what is buffered; `whole` does it again, and sees what fails."""
        if self.fault is None:
            self._out.flush()


@contextmanager
def whole(path: Path, private: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that is whole, and on disk, or not there.

    Where the block or the disk fails, what was there before is left, and nothing beside it.
    private: as for `save_tensors`.
    """
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    mode = 0o600 if private else 0o666  # less what the process's umask takes away
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        # Of a disk that is full the system does not say in which file.
        error.filename = error.filename or str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def load_tensors(path: Path) -> Any:
    """Read what `save_tensors` wrote.

    Raises OSError where there is no file to read, and ValueError where it is damaged; torch has
    many errors and a warning for that.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, weights_only=True)
    except (RuntimeError, EOFError, KeyError, TypeError, ValueError,
            pickle.UnpicklingError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error


def finite(value: float) -> float | None:
    """Return the value, or None where it is infinite or NaN, for which JSON has no word."""
    return value if math.isfinite(value) else None
