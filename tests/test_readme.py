"""The Python of the README runs as it is printed there."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_the_quickstart_runs() -> None:
    readme = Path(__file__).parents[1] / "README.md"
    result = doctest.testfile(str(readme), module_relative=False)
    assert result.attempted > 5 and not result.failed
