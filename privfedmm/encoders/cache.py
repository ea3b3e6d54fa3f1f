"""Features kept by content and model: what was encoded once is not encoded again.

One folder for each encoder identity; in it, shards that are written once and never changed. A
shard is whole or absent, so an interrupted run keeps what it has finished and two runs can write
side by side.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from privfedmm.encoders.protocol import EncoderError


def content_key(content: bytes) -> str:
    """Return the SHA-256 of an item's text or picture file."""
    return hashlib.sha256(content).hexdigest()


class FeatureCache:
    """This keeps the rows of one encoder by content key. Raises EncoderError for a damaged
    shard."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._identity = identity
        self._folder = folder / hashlib.sha256(identity.encode()).hexdigest()[:32]
        self._rows: dict[str, np.ndarray] = {}
        self._cut: dict[str, bool] = {}
        for shard in sorted(self._folder.glob("*.npz")):
            self._read(shard)

    def _read(self, shard: Path) -> None:
        try:
            with shard.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                keys, rows = saved["keys"].tolist(), saved["rows"]
                cut = saved["cut"] if "cut" in saved.files else None
                whole = _checksum(keys, rows, cut) == str(saved["sha256"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise EncoderError(f"the cached features {shard} are damaged ({error}); "
                               "delete that file") from error
        if not whole:
            raise EncoderError(f"the cached features {shard} have been changed; delete that file")
        self._rows.update(zip(keys, rows, strict=True))
        if cut is not None:
            self._cut.update(zip(keys, cut.tolist(), strict=True))

    def cut(self, key: str) -> bool | None:
        """Return whether a content was read in part alone; None where that was not kept."""
        return self._cut.get(key)

    def get(self, key: str) -> np.ndarray | None:
        """Return the row [F] of a content, or None."""
        return self._rows.get(key)

    def add(self, keys: list[str], rows: np.ndarray, cut: np.ndarray) -> None:
        """Keep rows [n, F] of contents; they are on disk when this returns.

        cut [n] bool: which contents were read in part alone. Raises EncoderError where the folder
        cannot be written.
        """
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        try:
            self._write(keys, rows, cut)
        except OSError as error:
            raise EncoderError(
                f"the cache folder {self._folder.parent} cannot be written ({error.strerror}); "
                "give another with PRIVFEDMM_CACHE") from error
        self._rows.update(zip(keys, rows, strict=True))
        self._cut.update(zip(keys, cut.tolist(), strict=True))

    def _write(self, keys: list[str], rows: np.ndarray, cut: np.ndarray) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "identity.txt").write_text(self._identity + "\n", encoding="utf-8")
        checksum = _checksum(keys, rows, cut)
        part = self._folder / f"{checksum[:32]}.{os.getpid()}.part"
        try:
            with part.open("wb") as out:
                np.savez(out, keys=np.array(keys), rows=rows, cut=cut, sha256=np.array(checksum))
                out.flush()
                os.fsync(out.fileno())
            part.replace(self._folder / f"{checksum[:32]}.npz")
        finally:
            part.unlink(missing_ok=True)


def _checksum(keys: Iterable[str], rows: np.ndarray, cut: np.ndarray | None) -> str:
    whole = hashlib.sha256("\n".join(keys).encode())
    whole.update(str(rows.shape).encode() + np.ascontiguousarray(rows).tobytes())
    if cut is not None:  # a shard of an earlier version has none
        whole.update(np.ascontiguousarray(cut).tobytes())
    return whole.hexdigest()
