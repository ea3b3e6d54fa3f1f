"""Tests do not fail on a busy machine: no clock decides one, in pytest or in hypothesis."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "tests").rglob("*.py"))
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
          "process_time_ns", "thread_time", "time_ns"}
# Waiting with a limit: of processes, and of what runs in an event loop.
LIMITED = {"run", "wait", "communicate", "check_output", "check_call", "join", "wait_for"}


def clocks(tree: ast.AST) -> Iterator[str]:
    """What in a file makes a test depend on how busy the machine is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "time" and node.attr in {*CLOCKS, "time"}:
                yield f"line {node.lineno}: time.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"line {node.lineno}: {alias.name}" for alias in node.names
                        if alias.name != "sleep")
        elif isinstance(node, ast.Call):
            named = node.func
            name = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
            for keyword in node.keywords:
                free = isinstance(keyword.value, ast.Constant) and keyword.value.value is None
                if keyword.arg == "timeout" and name in LIMITED and not free:
                    yield f"line {node.lineno}: {name}(timeout=...)"
                if keyword.arg == "deadline" and not free:
                    yield f"line {node.lineno}: {name}(deadline=...)"
                if keyword.arg == "suppress_health_check" and (
                        "too_slow" not in ast.unparse(keyword.value)):
                    yield f"line {node.lineno}: a list without HealthCheck.too_slow"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_test_looks_at_a_clock(path: Path) -> None:
    assert list(clocks(ast.parse(path.read_text(encoding="utf-8")))) == []


def test_hypothesis_has_no_deadline_and_does_not_mind_slow_examples() -> None:
    assert settings.default is not None
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


@pytest.mark.parametrize(("text", "count"), [
    ("import time\nassert time.monotonic() < 3", 1),
    ("from time import perf_counter, sleep", 1),
    ("from time import sleep", 0),
    ("process.wait(timeout=3)", 1),
    ("process.wait(timeout=None)", 0),
    ("settings(deadline=200)", 1),
    ("settings(deadline=None, max_examples=3)", 0),
    ("settings(suppress_health_check=[HealthCheck.function_scoped_fixture])", 1),
])
def test_what_looks_at_a_clock_is_found(text: str, count: int) -> None:
    assert len(list(clocks(ast.parse(text)))) == count
