"""A folder in the example package's layout."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from privfedmm.testing.layouts import Interaction


def write_sqlite(folder: Path, rows: Sequence[Interaction]) -> None:
    """Write user, item and time of every interaction, as text and in this order."""
    database = sqlite3.connect(folder / "interactions.db")
    database.execute("CREATE TABLE interactions (user TEXT, item TEXT, time TEXT)")
    database.executemany("INSERT INTO interactions VALUES (?, ?, ?)", rows)
    database.commit()
    database.close()
