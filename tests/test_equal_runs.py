"""Runs are equal to themselves, and a figure that changed is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.equal_runs import ROOT, RUNS, differences

PAGE = ROOT / "docs" / "results" / "equal_runs.md"
TWO = ("gfmfr (private groups)", "private, user unit")


def equal_runs(*arguments: str,
               names: tuple[str, ...] = TWO) -> subprocess.CompletedProcess[str]:
    only = [word for name in names for word in ("--only", name)]
    return subprocess.run([sys.executable, "-m", "tests.equal_runs", *only, *arguments],
                          cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_twice_the_same_and_a_changed_figure_is_named(tmp_path: Path) -> None:
    before, again = tmp_path / "before.json", tmp_path / "again.json"
    done = equal_runs("--json", str(before))
    assert done.returncode == 0, done.stderr
    figures = json.loads(before.read_text(encoding="utf-8"))
    assert list(figures) == list(TWO)
    assert figures[TWO[0]]["scores"] != figures[TWO[1]]["scores"]

    done = equal_runs("--json", str(again), "--against", str(before))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(again.read_text(encoding="utf-8")) == figures
    assert "all 2 equal" in done.stdout

    figures[TWO[0]]["curve"] = "0" * 64
    before.write_text(json.dumps(figures), encoding="utf-8")
    done = equal_runs("--against", str(before), names=TWO[:1])
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{TWO[0]}: other curve" in done.stdout.splitlines()


def test_differences_are_named_run_by_run() -> None:
    now = {"a": {"metrics": "1", "curve": "2"}, "b": {"metrics": "1"}, "c": {"metrics": "1"}}
    before = {"a": {"metrics": "3", "curve": "4"}, "b": {"metrics": "1"}}
    assert differences(now, before) == ["a: other metrics, curve",
                                        "c: not among the runs to compare with"]
    assert differences(now, now) == []


@pytest.mark.slow
def test_a_folder_without_the_packages_is_refused(tmp_path: Path) -> None:
    done = equal_runs("--tree", str(tmp_path))
    assert done.returncode == 1
    assert f"--tree: {tmp_path} is no checkout" in done.stderr


def test_the_page_has_every_run() -> None:
    rows = [line.split("|")[1].strip() for line in PAGE.read_text(encoding="utf-8").splitlines()
            if line.startswith("| ")]
    assert len(RUNS) == 12
    assert [name for name in rows if name in RUNS] == list(RUNS)
