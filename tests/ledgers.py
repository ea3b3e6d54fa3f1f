"""What a run folder's ledger holds, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def links(folder: Path) -> list[dict[str, Any]]:
    """Every link: the commitment of a bound ledger, entries, notes."""
    rows: list[dict[str, Any]] = json.loads((folder / "ledger.json").read_text(encoding="utf-8"))
    return rows


def charges(folder: Path) -> list[dict[str, Any]]:
    """What was charged alone."""
    return [row for row in links(folder) if "kind" not in row]
