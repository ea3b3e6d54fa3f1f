"""What a deployment in this process has left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from privfedmm.federation.transport import Transport
from tests.ledgers import charges


class Looped(Transport, Protocol):
    """The loop of conftest.py."""

    folders: list[Path]
    log: list[tuple[str, int]]
    experiment: bool
    before: Callable[[str, int, bytes], bytes | None]
    after: Callable[[str, int, bytes], bytes | None]


class Killed(Exception):
    """The server's process ends here."""


def entries(folder: Path) -> list[tuple[int, str]]:
    return [(row["round"], row["status"]) for row in charges(folder)]


def everybody() -> np.ndarray:
    return np.arange(36)
