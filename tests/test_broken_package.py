"""A package whose part cannot be loaded harms nobody but itself."""

from __future__ import annotations

from pathlib import Path

import pytest

import privfedmm as pf
from privfedmm.base.registry import BrokenEntry
from privfedmm.fusions import FUSIONS
from tests.commands import cli
from tests.installed import installed


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A distribution that registers a fusion of a module which is not there."""
    installed(tmp_path, "gone", "gone.away:FUSION")
    monkeypatch.syspath_prepend(tmp_path)
    # What this process has read of entry points before is forgotten, and read anew afterwards.
    monkeypatch.setattr(FUSIONS, "_points", None)
    return "the fusion module 'gone' of the package gone cannot be loaded (ModuleNotFoundError"


def test_the_list_shows_all_others_and_says_why(broken: str) -> None:
    """It was a traceback, and no list."""
    done = cli("fusions", "--json")
    assert done.returncode == 0, done.stderr
    assert broken in done.stdout
    assert all(f'"{name}"' in done.stdout for name in FUSIONS.names())


def test_a_run_with_it_ends_in_a_sentence_and_others_run(broken: str) -> None:
    with pytest.raises(BrokenEntry, match="mend or uninstall that package"):
        FUSIONS.get("gone")
    done = cli("run", "--dataset", "planted:36", "--rounds", "1", "--method", "gfmfr", "--set",
               "algorithm.fusion.module=gone", "--out", "never")
    assert done.returncode == 2 and broken in " ".join(done.stderr.split())
    assert pf.train("planted:36", method="popularity", baselines=[]).metrics is not None
