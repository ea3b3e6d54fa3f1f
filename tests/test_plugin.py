"""The example package, installed as its users would, through every command without an edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.cli.lists import registry_of
from privfedmm.base.registry import Registry
from privfedmm.testing.layouts import ITEMS, sample
from tests.commands import BARE, cli
from tests.sqlite_folder import write_sqlite

PLUGIN = Path(__file__).parents[1] / "examples" / "plugin"
METHOD = "fedavg_embeddings"
NAMES = {"methods": METHOD, "backbones": "fcf", "groupings": "cross_polytope",
         "fusions": "low_rank_bilinear", "noises": "laplace", "aggregators": "two_servers",
         "layouts": "SQLite"}
DATA = ("--dataset", "planted:60", "--rounds", "2", *BARE)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package in a folder of its own, where its entry points are found."""
    folder, copy = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("plugin") / "source"
    # A build leaves its traces beside the source, where other tests would find the entry points.
    shutil.copytree(PLUGIN, copy, ignore=shutil.ignore_patterns("build", "*.egg-info"))
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
    pytest.param((), marks=pytest.mark.slow),
    pytest.param(("--dp-epsilon", "8", "--noise", "simulation"), marks=pytest.mark.slow),
    pytest.param(("--aggregation", "masked"), marks=pytest.mark.slow),
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
    (), pytest.param(("--dp-epsilon", "8", "--noise", "simulation"), marks=pytest.mark.slow),
    pytest.param(("--aggregation", "masked"), marks=pytest.mark.slow),
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
@pytest.mark.parametrize("kind", NAMES)
def test_each_part_is_listed_with_its_package(kind: str) -> None:
    (row,) = json.loads(ok(kind, NAMES[kind], "--json"))
    assert row["from"] == "privfedmm-example" and row["reference"]


GROUPED = ("--set", "algorithm.groups.grouping=private", "--set",
           "algorithm.groups.start_round=0", "--set", "algorithm.distillation.weight=0.03")
PRIVATE = ("--dp-epsilon", "8", "--noise", "simulation", "--set", "dp.subspace_rank=0")
MASKED = ("--aggregation", "masked")
# A part, the flags that name it, where its record names it, and the protections it runs under.
PARTS = {
    "grouping": ((*GROUPED, "--set", "algorithm.groups.grouping=cross_polytope"),
                 "cross_polytope", ((), MASKED, PRIVATE)),
    "fusion": ((*GROUPED, "--set", "algorithm.fusion.module=low_rank_bilinear"),
               "low_rank_bilinear", ((), MASKED, PRIVATE)),
    "noise": (("--method", "backbone", "--set", "dp.mechanism=laplace"),
              "CentralLaplace", (PRIVATE, (*PRIVATE, *MASKED))),
    "aggregator": (("--aggregation", "two_servers"), "two_servers",
                   ((), PRIVATE, (*PRIVATE, "--trust", "distributed"))),
}
# The default suite has one of them; contracts run grouping and fusion from Python.
RUNS = [pytest.param(part, under, id=f"{part}-{at}",
                     marks=[pytest.mark.slow] * (part != "noise" or at > 0))
        for part, (_, _, protections) in PARTS.items() for at, under in enumerate(protections)]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("part", "under"), RUNS)
def test_a_part_from_run_to_report(part: str, under: tuple[str, ...], tmp_path: Path) -> None:
    flags, name, _ = PARTS[part]
    method = () if "--method" in flags else ("--method", "gfmfr")
    out = str(tmp_path / "run")
    record = json.loads(ok("run", *DATA, *method, *under, *flags, "--out", out, "--json"))
    assert name in json.dumps(record)
    audit = json.loads(ok("audit", out, "--quick", "--audit-seed", "1", "--json",
                          "--parts", "budget,attacks"))
    assert audit["passed"] and any(m.get("cells") for m in audit["attacks"].values())
    if name in audit["attacks"]:  # a way of summing of their own is a mode of its own
        cells = {c["attack"]: c["auc"][0] for c in audit["attacks"][name]["cells"]}
        assert cells["signed rows"] < 0.6 and cells.get("group", 0.5) < 0.6
    shown = json.loads(ok("recommend", out, "--user", "u3", "--top", "3", "--json"))
    assert len(shown["items"]) == 3
    assert record["label"] in ok("report", str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_its_aggregator_is_compared_like_ours(tmp_path: Path) -> None:
    """What one of its servers receives of a client tells no more than chance."""
    found = json.loads(ok("compare", "--dataset", "planted:60", "--rounds", "1", "--modes",
                          "plain,two_servers", "--dropouts", "0.1", "--out", str(tmp_path / "c"),
                          "--json"))["modes"]["two_servers"]
    assert found["leak"]["f1"] <= found["leak"]["chance_f1"] + 0.02
    assert found["leak"]["auc"] == pytest.approx(0.5, abs=0.03)
    assert found["max_update_difference"] <= found["quantisation_bound"]
    assert found["dropout"]["0.1"]["finished"]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    write_sqlite(folder, sample())
    # A budget takes its items from here: the layout tells of items by rows alone.
    (folder / "items.csv").write_text("item_id\n" + "".join(f"{n}\n" for n in range(ITEMS)))
    return folder


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("under", [(), MASKED, PRIVATE], ids=["plain", "masked", "private"])
def test_its_layout_from_run_to_report(
    under: tuple[str, ...], database: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "runs" / "one")
    record = json.loads(ok("run", "--dataset", str(database), "--method", "backbone", "--rounds",
                           "1", "--k-core", "0", *BARE, *under, "--out", out, "--json"))
    assert record["dataset"]["users"] == 6
    assert json.loads(ok("audit", out, "--parts", "budget", "--json"))["passed"]
    shown = json.loads(ok("recommend", out, "--user", "007", "--top", "2", "--json"))
    assert len(shown["items"]) == 2
    assert "backbone" in ok("report", str(tmp_path / "runs"))
    if not under:
        modes = json.loads(ok(
            "compare", "--dataset", str(database), "--method", "backbone", "--rounds", "1",
            "--modes", "plain,masked", "--dropouts", "", "--set", "k_core=0", "--out",
            str(tmp_path / "c"), "--json"))["modes"]
        assert modes.keys() == {"plain", "masked"}


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
@pytest.mark.parametrize("parts", [("method", "layout"), ("backbone", "grouping")], ids="+".join)
def test_it_is_deployed(
    parts: tuple[str, ...], installed: Path, database: Path, tmp_path: Path
) -> None:
    """In processes of their own, which find the package where Python does."""
    planted = ("--dataset", "planted:24")
    flags = {
        "method": ("--method", METHOD),
        "layout": ("--dataset", str(database), "--set", "k_core=0"),
        "backbone": (*planted, "--method", "gfmfr", "--set", "algorithm.model.backbone=fcf"),
        "grouping": PARTS["grouping"][0],
    }
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "deploy", "local", "--nodes", "2", "--rounds", "1",
         *(flag for part in parts for flag in flags[part]), "--aggregation", "masked", *BARE,
         "--out", str(tmp_path / "run"), "--json"],
        capture_output=True, text=True, check=False, env=environment,
        cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads(done.stdout)
    assert record["federation"]["nodes"] == 2
    for part in parts:
        if part == "layout":  # a record names no layout: these users are in its database alone
            assert record["dataset"]["users"] == 6
        else:
            assert NAMES[f"{part}s"] in json.dumps(record)
