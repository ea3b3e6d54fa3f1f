"""The server's journal in files: which attempt is under way, and what finishes its opening."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from experiments.deployment.certificates import write_secret
from privfedmm.base.files import flush_folder, write_json
from privfedmm.federation.openings import Underway

JOURNAL = "journal.json"


@dataclass(frozen=True)
class FileJournal:
    """The server keeps its journal in files.

    `journal.json` names the attempt and, by its SHA-256, the file `opening-*.bin` that belongs to
    it; a file that is damaged, or of another entry, counts as none.
    """

    folder: Path

    def get(self) -> Underway | None:
        """Return the last entry, None before the first. Raises ValueError for a journal that cannot
        be read."""
        path = self.folder / JOURNAL
        if not path.exists():
            return None
        row = json.loads(path.read_text(encoding="utf-8"))
        number, told = (int(row["round"]), int(row["attempt"])), row["opening"]
        cheats = frozenset(int(client) for client in row.get("cheats", ()))
        parts = {name: bytes.fromhex(part) for name, part in row.get("parts", {}).items()}
        if told is None:
            return Underway(*number, None, cheats, parts, bool(row.get("asked", True)))
        try:
            body = self._file(told).read_bytes()
        except FileNotFoundError:
            body = b""
        whole = hashlib.sha256(body).hexdigest() == told
        return Underway(*number, body if whole else b"", cheats, parts)

    def put(self, entry: Underway) -> None:
        """Write an entry durably; a process killed meanwhile leaves the entry before in place."""
        told = None
        if entry.opening is not None:
            told = hashlib.sha256(entry.opening).hexdigest()
            write_secret(self._file(told), entry.opening)
            flush_folder(self.folder)
        write_json(self.folder / JOURNAL, {
            "round": entry.round, "attempt": entry.attempt, "opening": told,
            "asked": entry.asked, "cheats": sorted(entry.cheats),
            "parts": {name: part.hex() for name, part in sorted(entry.parts.items())}})
        flush_folder(self.folder)
        self._drop(told)

    def finished(self) -> None:
        """Forget what opened the last round, which is complete."""
        last = self.get()
        if last is not None:
            self.put(last.then((last.round, last.attempt)))

    def _file(self, told: str) -> Path:
        return self.folder / f"opening-{told[:16]}.bin"

    def _drop(self, told: str | None) -> None:
        for path in self.folder.glob("opening-*"):
            if told is None or path != self._file(told):
                path.unlink()
