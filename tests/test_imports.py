"""What may be imported, and where, checked on the syntax trees: see also test_structure.py."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("privacy", "privfedmm", "experiments")
FILES = [p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


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


def test_no_global_generators() -> None:
    """Named streams or explicit generators only: nothing may depend on who drew before."""
    forbidden = ("np.random.seed", "np.random.rand", "np.random.normal", "torch.randn(",
                 "torch.rand(", "import random")
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert not [f for f in forbidden if f in text], path
