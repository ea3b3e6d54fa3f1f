"""The example package, installed as its users would, through every command without an edit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from privfedmm.backbones import BACKBONES
from privfedmm.base.registry import Registry
from privfedmm.methods import METHODS
from tests.commands import BARE, cli

PLUGIN = Path(__file__).parents[1] / "examples" / "plugin"
METHOD = "fedavg_embeddings"
DATA = ("--dataset", "planted:60", "--rounds", "2", *BARE)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package in a folder of its own, where its entry points are found."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder),
         str(PLUGIN)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"the example package does not install: {done.stderr[-500:]}")
    sys.path.insert(0, str(folder))
    _look_again(METHODS)
    _look_again(BACKBONES)
    yield folder
    sys.path.remove(str(folder))
    for name in [n for n in sys.modules if n.startswith("privfedmm_example")]:
        del sys.modules[name]
    _forget(METHODS, METHOD)
    _forget(BACKBONES, "fcf")


def _look_again(registry: Registry) -> None:  # type: ignore[type-arg]
    """Entry points are read once a process; this process has just gained some."""
    registry._points = None


def _forget(registry: Registry, name: str) -> None:  # type: ignore[type-arg]
    """Whatever was loaded: a test whose processes are its own loads nothing in this one."""
    if name in registry._found:
        registry.forget(name)
    _look_again(registry)


def ok(*arguments: str) -> str:
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("installed")
def test_it_is_listed_and_explained() -> None:
    (row,) = json.loads(ok("methods", METHOD, "--json"))
    assert row["from"] == "privfedmm-example" and row["can"] == [
        "federated", "user_unit", "adaptive_clip", "deployed"]
    assert {s["path"] for s in row["settings"]} == {
        "settings.dim", "settings.epochs", "settings.lr", "settings.server_lr"}
    (setting,) = json.loads(ok("config", "explain", f"{METHOD}.dim", "--json"))
    assert setting["default"] == "16"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("flags", [
    (), ("--dp-epsilon", "8", "--noise", "simulation"), ("--aggregation", "masked"),
    ("--dp-epsilon", "8", "--noise", "simulation", "--aggregation", "masked", "--trust",
     "distributed"),
], ids=["plain", "private", "masked", "distributed"])
def test_run_audit_recommend_and_report(flags: tuple[str, ...], tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    record = json.loads(ok("run", *DATA, "--method", METHOD, *flags, "--out", out, "--json",
                           "--set", "settings.dim=8"))
    assert record["method"] == METHOD and record["privacy"]["releases"]
    assert "dim = 8" in (tmp_path / "run" / "config.toml").read_text()
    if record["privacy"]["epsilon"] is not None:
        assert record["privacy"]["epsilon_spent"] <= 8.0
    audit = json.loads(ok("audit", out, "--quick", "--audit-seed", "1", "--json",
                          "--parts", "budget,attacks"))
    assert audit["passed"] and {c["attack"] for c in audit["attacks"]["plain"]["cells"]} >= {
        "changed rows", "signed rows", "differencing: presence"}
    shown = json.loads(ok("recommend", out, "--user", "u3", "--top", "3", "--json"))
    assert len(shown["items"]) == 3
    assert METHOD in ok("report", str(tmp_path))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("flags", [
    (), ("--dp-epsilon", "8", "--noise", "simulation"), ("--aggregation", "masked"),
], ids=["plain", "private", "masked"])
def test_its_backbone_under_gfmfr(flags: tuple[str, ...], tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    record = json.loads(ok("run", *DATA, "--method", "gfmfr", "--backbone", "fcf", *flags, "--out",
                           out, "--json"))
    assert record["backbone"] == "fcf" and record["parts"]["backbone"] == "fcf"
    audit = json.loads(ok("audit", out, "--quick", "--audit-seed", "1", "--json",
                          "--parts", "budget,attacks"))
    assert audit["passed"] and audit["attacks"]["masked"]["cells"]
    shown = json.loads(ok("recommend", out, "--user", "u3", "--top", "3", "--explain", "--json"))
    assert len(shown["items"]) == 3
    assert "fcf" in ok("report", str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_its_backbone_is_measured_against_its_torch_twin() -> None:
    found = json.loads(ok("bench", "round", "--dataset", "planted:60", "--backbone", "fcf",
                          "--json"))
    assert found["max_update_difference"] < 1e-3 and found["ratio"] > 1


@pytest.mark.usefixtures("installed")
def test_compare_reads_its_table(tmp_path: Path) -> None:
    found = json.loads(ok("compare", "--dataset", "planted:60", "--rounds", "1", "--method", METHOD,
                          "--modes", "plain,masked", "--dropouts", "0.1", "--out",
                          str(tmp_path / "c"), "--json"))
    plain, masked = found["modes"]["plain"], found["modes"]["masked"]
    assert plain["leak"]["f1"] > 0.95 and masked["leak"]["f1"] < 0.4
    assert masked["dropout"]["0.1"]["finished"]


@pytest.mark.slow
def test_it_is_deployed(installed: Path, tmp_path: Path) -> None:
    """In processes of their own, which find the package where Python does."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "deploy", "local", "--nodes", "2", "--dataset",
         "planted:24", "--rounds", "1", "--method", METHOD, "--aggregation", "masked", *BARE,
         "--out", str(tmp_path / "run"), "--json"],
        capture_output=True, text=True, check=False, env=environment,
        cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads(done.stdout)
    assert record["method"] == METHOD and record["federation"]["nodes"] == 2
