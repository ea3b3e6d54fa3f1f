"""`privacy` around models that know nothing of recommendation, as its page shows them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "privacy_alone"
EXAMPLES = {path.stem: path for path in sorted(FOLDER.glob("*.py"))}
MOST_LINES = 40


def lines_of_code(path: Path) -> set[int]:
    """Lines that a statement stands on, imports and the docstring left out."""
    body = ast.parse(path.read_text(encoding="utf-8")).body[1:]
    code = [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return {line for node in code for line in range(node.lineno, (node.end_lineno or 0) + 1)}


def run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES[name])], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return done.stdout


def number(pattern: str, printed: str) -> float:
    found = re.search(pattern, printed, re.MULTILINE)
    assert found, printed
    return float(found[1])


def test_the_examples_are_those_that_are_tested() -> None:
    assert set(EXAMPLES) == {"numpy_model", "torch_model"}


def test_the_numpy_model_learns_within_its_budget() -> None:
    printed = run("numpy_model")
    assert printed.startswith("epsilon 3, delta 1e-05, user level")
    assert "8 Gaussian releases" in printed and "aggregation: masked" in printed
    assert "against the server: none, it is trusted" in printed
    assert number(r"^ledger (\d+),", printed) == 8
    assert 2.99 < number(r"spent ([\d.]+)$", printed) <= 3.000003
    # Half the labels are of each kind; without noise the same rounds reach more than .98.
    assert number(r"^accuracy ([\d.]+)$", printed) > 0.9


@pytest.mark.slow
def test_the_torch_model_learns_and_hides_its_clients_from_the_server() -> None:
    printed = run("torch_model")
    assert "10 discrete Gaussian releases" in printed and "trust: distributed" in printed
    assert number(r"^against the server: epsilon ([\d.]+)$", printed) == 8
    assert number(r"^ledger (\d+),", printed) == 10
    assert 7.99 < number(r"spent ([\d.]+)$", printed) <= 8.000008
    # A constant guess costs log 2 = .693.
    assert number(r"^loss ([\d.]+)$", printed) < 0.65


@pytest.mark.parametrize("path", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_is_short_and_knows_no_recommender(path: Path) -> None:
    assert len(lines_of_code(path)) < MOST_LINES
    modules = {node.module for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
               if isinstance(node, ast.ImportFrom)}
    assert not {m for m in modules if m and m.split(".")[0] in ("privfedmm", "experiments")}


@pytest.mark.parametrize("path", EXAMPLES.values(), ids=EXAMPLES)
def test_the_page_shows_the_code_that_runs(path: Path) -> None:
    page = (ROOT / "docs" / "privacy-alone.md").read_text(encoding="utf-8")
    assert f"```python\n{path.read_text(encoding='utf-8')}```\n" in page
