"""A federation in this process, one of whose nodes lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.federation.conftest import Settle, settle


@pytest.fixture
def settled(tmp_path: Path) -> Settle:
    """Flags -> config, run folder, and a loop over the parties' folders, key holder last."""
    return lambda flags: settle(flags, tmp_path / "deployed")
