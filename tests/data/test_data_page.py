"""The page on one's own data: its commands run, and it lists the names that are known."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from privfedmm.data import LAYOUTS
from privfedmm.data.raw import NAMES
from privfedmm.data.raw.files import ENDINGS, HEADLESS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def test_names_formats_and_layouts_are_those_of_the_code() -> None:
    for ours, names in NAMES.items():
        row = re.search(rf"^\| {ours} \| (.*) \|$", PAGE, re.MULTILINE)
        assert row is not None
        assert tuple(re.findall(r"`([^`]+)`", row[1])) == names
    for text in (*ENDINGS, *HEADLESS):
        assert f"`{text}`" in PAGE or text == ".arrow"
    for layout in ("ours", "RecBole", "MMRec", "GFMFR", "MovieLens", "datasets", "table"):
        assert layout in [entry.name for entry in LAYOUTS] and f"| {layout} |" in PAGE


@pytest.mark.slow
def test_its_commands_run_and_say_what_it_shows(tmp_path: Path) -> None:
    block = re.search(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    program = tmp_path / "bin" / "privfedmm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m experiments "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", block[1]], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    shown = [line[4:] for line in PAGE.splitlines() if line.startswith("    ")]
    said = done.stdout.splitlines()
    assert said[0].startswith(shown[0].removesuffix("..."))
    assert said[1:len(shown)] == shown[1:]
    assert (tmp_path / "runs" / "mine" / "record.json").exists()
