"""The example package, installed as its users would, through every command without an edit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import BARE
from tests.plugin.parts import BUDGET, METHOD, NAMES, PARTS, PLANTED, SEED, SHOP_USERS, ok, ran

pytestmark = [pytest.mark.usefixtures("installed"), pytest.mark.slow]

# What the default suite has of them; the layout's are six users, and cost little.
FAST = {("method", "distributed"), ("layout", "private")}


def marked(*case: str, fast: bool) -> object:
    return pytest.param(*case, id="-".join(case), marks=[] if fast else [pytest.mark.slow])


def test_it_is_listed_and_explained() -> None:
    (row,) = json.loads(ok("methods", METHOD, "--json"))
    assert row["from"] == "privfedmm-example" and row["can"] == [
        "federated", "user_unit", "adaptive_clip", "deployed"]
    found = {s["path"]: (s["type"], s["default"], s["range"]) for s in row["settings"]}
    assert found == {
        "settings.dim": ("whole number", "16", ">= 1"),
        "settings.epochs": ("whole number", "5", ">= 1"),
        "settings.lr": ("number", "0.1", "> 0"),
        "settings.server_lr": ("number", "10.0", "> 0")}
    (setting,) = json.loads(ok("config", "explain", f"{METHOD}.dim", "--json"))
    assert setting["meaning"] == "Length of the vectors of users and items."
    assert "settings.server_lr" in ok("methods", METHOD)


@pytest.mark.parametrize("kind", NAMES)
def test_each_part_is_listed_with_its_package(kind: str) -> None:
    (row,) = json.loads(ok(kind, NAMES[kind], "--json"))
    assert row["from"] == "privfedmm-example" and row["reference"]


def test_its_metric_is_recorded(tmp_path: Path) -> None:
    record = json.loads(ok("run", *PLANTED, "--rounds", "2", *BARE, "--method", "popularity",
                           "--metrics", "rbp@10", "--out", str(tmp_path / "run"), "--json"))
    assert 0 < record["metrics"]["test"]["rbp@10"] < 0.2  # one target a user: 1 - 0.8 at most


@pytest.mark.parametrize(("kind", "under"), [
    marked(kind, under, fast=(kind, under) in FAST)
    for kind, part in PARTS.items() for under in part.protections])
def test_a_run_with_a_part_is_audited_shown_reported_and_released(
    kind: str, under: str, database: Path, tmp_path: Path
) -> None:
    part, out = PARTS[kind], tmp_path / "runs" / "one"
    record = ran(kind, under, database, out)
    private = record["privacy"]["epsilon"] is not None
    assert private == (under not in ("plain", "masked"))
    if private:
        assert 0 < record["privacy"]["epsilon_spent"] <= 8.0
    # All three parts of an audit: the books, the noise with canaries, and attacks on every mode.
    audit = json.loads(ok("audit", str(out), "--quick", "--audit-seed", "1", "--json"))
    assert audit["passed"], audit["faults"]
    assert (audit["empirical"]["skipped"] is None) == private
    assert any(mode.get("cells") for mode in audit["attacks"].values())
    if "two_servers" in audit["attacks"]:  # a way of summing of their own is a mode of its own
        cells = {c["attack"]: c["auc"][0] for c in audit["attacks"]["two_servers"]["cells"]}
        assert cells["signed rows"] < 0.6 and cells.get("group", 0.5) < 0.6
    shown = json.loads(ok("recommend", str(out), "--user", part.user, "--top", "3", "--explain",
                          "--json"))
    assert len(shown["items"]) == 3
    for item in shown["items"]:
        assert sum(item["parts"].values()) == pytest.approx(item["score"], abs=2e-3)
    row = next(line for line in ok("report", str(tmp_path)).splitlines()
               if line.startswith(f"| {record['label'] or record['method']}"))
    assert f"{record['metrics']['test']['ndcg@50']:.4f}" in row
    # The noise of tests follows from the seed: its bundle says that it protects nobody.
    bundle, rows = tmp_path / "bundle", tmp_path / "mine.csv"
    ok("release", str(out), str(bundle), "--no-claim")
    rows.write_text(part.rows)
    mine = json.loads(ok("recommend", str(bundle), "--rows", str(rows), "--top", "2", "--json"))
    own = set(part.rows.split())
    assert len(mine["items"]) == 2 and not own & {item["item_id"] for item in mine["items"]}


@pytest.mark.parametrize(("kind", "under"), [
    marked(kind, under, fast=(kind, under) in {
        ("layout", "private"), ("method", "plain")})
    for kind, part in PARTS.items() for under in ("plain", "private") if under in part.protections])
def test_compare_has_each_part_in_every_mode(
    kind: str, under: str, database: Path, tmp_path: Path
) -> None:
    part, out, tiny = PARTS[kind], tmp_path / "c", kind == "layout"
    found = json.loads(ok(
        "compare", "--rounds", "1", *SEED, *(BUDGET if under == "private" else ()),
        *part.asked(database), "--modes", part.modes, "--dropouts", "" if tiny else "0.1", "--out",
        str(out), "--json"))["modes"]
    plain, hidden = (found[mode] for mode in part.modes.split(","))
    for mode in found:
        record = (out / mode / "record.json").read_text(encoding="utf-8")
        assert all(text in record for text in part.shown if "aggregation" not in text)
    assert plain["leak"]["f1"] > 0.95
    assert 0 < hidden["max_update_difference"] <= hidden["quantisation_bound"]
    if not tiny:  # of six users nobody may vanish, and chance has a wide interval
        assert hidden["leak"]["f1"] <= hidden["leak"]["chance_f1"] + 0.02
        assert hidden["leak"]["auc"] == pytest.approx(0.5, abs=0.03)
        assert hidden["dropout"]["0.1"]["finished"]


SWEEP = """
seeds = [1]
epsilons = [8, inf]
[base]
rounds = 1
baselines = []
dp.subspace_rank = 0
[[variants]]
label = "method"
method = "fedavg_embeddings"
settings.dim = 8
[[variants]]
label = "gfmfr"
method = "gfmfr"
algorithm.model.backbone = "fcf"
algorithm.groups.grouping = "cross_polytope"
algorithm.groups.start_round = 0
algorithm.distillation.weight = 0.03
algorithm.fusion.module = "low_rank_bilinear"
[[variants]]
label = "sums"
method = "backbone"
dp.mechanism = "laplace"
aggregation = "two_servers"
"""


SHOP = """
seeds = [1]
[base]
k_core = 0
rounds = 1
baselines = []
[[variants]]
label = "sqlite"
method = "fedavg_embeddings"
"""


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_sweep_and_budget_count_its_runs(
    processes: str, database: Path, installed: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers find the package where Python does: two of them are processes of their own."""
    monkeypatch.setenv("PYTHONPATH", f"{installed}:{Path(__file__).parents[2]}")
    monkeypatch.setenv("PRIVFEDMM_STATE", str(tmp_path / "state"))
    (tmp_path / "sweep.toml").write_text(SWEEP)
    out = tmp_path / "runs"
    ok("sweep", str(tmp_path / "sweep.toml"), "--dataset", "planted:60", "--processes", processes,
       "--out", str(out))
    records = [json.loads(file.read_text()) for file in out.rglob("record.json")]
    assert len(records) == 6
    text = json.dumps(records)
    assert all(part in text for part in PARTS["together"].shown)
    assert f'"method": "{METHOD}"' in text
    report = ok("report", str(out))
    assert all(f"| {label}, epsilon {e} |" in report
               for label in ("method", "gfmfr", "sums") for e in ("8", "inf"))
    # A process that has named no noise yet knows what the package's cost.
    told = ok("budget", *PLANTED[1:], "--json") if processes == "1" else subprocess.run(
        [sys.executable, "-m", "experiments", "budget", *PLANTED[1:], "--json"], text=True,
        capture_output=True, check=True).stdout
    (total,) = json.loads(told)["totals"]
    assert total["runs"] == 3 and total["alone"] <= 8.0 < total["epsilon"]
    if processes == "1":
        (tmp_path / "shop.toml").write_text(SHOP)
        ok("sweep", str(tmp_path / "shop.toml"), "--dataset", str(database), "--out",
           str(tmp_path / "shops"))
        assert "| sqlite | " in ok("report", str(tmp_path / "shops"))
        shop = ran("layout", "private", database, tmp_path / "shop")
        account = json.loads(ok("budget", str(database), "--set", "k_core=0", "--json"))
        assert shop["dataset"]["users"] == SHOP_USERS and len(account["runs"]) == 1


def test_its_backbone_is_measured_against_its_torch_twin() -> None:
    found = json.loads(ok("bench", "round", *PLANTED, "--backbone", "fcf", "--json"))
    assert found["max_update_difference"] < 1e-3 and found["ratio"] > 1
