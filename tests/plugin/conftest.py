"""The example package as its users have it: installed, and found by its entry points."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.cli.lists import registry_of
from privfedmm.base.registry import Registry
from privfedmm.testing.layouts import ITEMS, sample
from tests.plugin.parts import NAMES, PACKAGE
from tests.sqlite_folder import write_sqlite


# For a file: a folder of tests without an __init__.py is no package with which fixtures would end.
@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package in a folder of its own, where its entry points are found."""
    folder, copy = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("plugin") / "source"
    # A build leaves its traces beside the source, where other tests would find the entry points.
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder),
         str(copy)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"the example package does not install: {done.stderr[-500:]}")
    sys.path.insert(0, str(folder))
    for kind in NAMES:
        _look_again(registry_of(kind))
    yield folder
    sys.path.remove(str(folder))
    for kind, name in NAMES.items():
        _forget(registry_of(kind), name)


def _look_again(registry: Registry) -> None:  # type: ignore[type-arg]
    """Entry points are read once a process; this process has just gained some."""
    registry._points = None


def _forget(registry: Registry, name: str) -> None:  # type: ignore[type-arg]
    """Whatever was loaded: a test whose processes are its own loads nothing in this one."""
    if name in registry._found:
        registry.forget(name)
    _look_again(registry)


@pytest.fixture(scope="package")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that only the package's layout can read."""
    folder = tmp_path_factory.mktemp("data") / "shop"
    folder.mkdir()
    write_sqlite(folder, sample())
    # A budget takes its items from here: the layout tells of items by rows alone.
    (folder / "items.csv").write_text("item_id\n" + "".join(f"{n}\n" for n in range(ITEMS)))
    return folder
