"""The import rule, checked on the syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY = {
    "privacy": {"privacy"},
    "privfedmm": {"privacy", "privfedmm"},
    "experiments": {"privacy", "privfedmm", "experiments"},
}
OURS = set(MAY) | {"tests"}
FILES = [p for package in MAY for p in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_import_rule(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert imported(path) & OURS <= MAY[package]


@pytest.mark.parametrize(
    ("library", "allowed"),
    [("flwr", 1), ("tenseal", 1)],
)
def test_one_file_imports(library: str, allowed: int) -> None:
    assert sum(library in imported(path) for path in FILES) <= allowed


def test_arguments_are_read_in_one_place() -> None:
    readers = {
        p.parent.relative_to(ROOT).as_posix()
        for p in FILES
        if "typer" in imported(p) or "sys.argv" in p.read_text(encoding="utf-8")
    }
    assert readers == {"experiments/cli"}


def test_files_stay_readable() -> None:
    long = [p.name for p in FILES if len(p.read_text(encoding="utf-8").splitlines()) > 350]
    assert not long


def test_no_global_generators() -> None:
    """Named streams or explicit generators only: nothing may depend on who drew before."""
    forbidden = ("np.random.seed", "np.random.rand", "np.random.normal", "torch.randn(",
                 "torch.rand(", "import random")
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert not [f for f in forbidden if f in text], path
