"""The example package on nodes: invited and joined here, played in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from privfedmm.testing.layouts import ITEMS, USERS, sample
from tests.commands import BARE, cli
from tests.plugin.parts import BUDGET, GROUPED, METHOD, PARTS, SHOP_USERS, ok
from tests.sqlite_folder import write_sqlite

pytestmark = [pytest.mark.usefixtures("installed"), pytest.mark.slow]

SMALL = ("--dataset", "planted:24", "--rounds", "1", *BARE)
# What carries which parts; all that nodes can, and every one of them under both ways of summing.
ASKED = {
    "method": (*SMALL, "--method", METHOD),
    "backbone": (*SMALL, "--method", "gfmfr", "--set", "algorithm.model.backbone=fcf"),
    "grouping": (*SMALL, *GROUPED, "--set", "algorithm.groups.grouping=cross_polytope"),
    "fusion": (*SMALL, *GROUPED, "--set", "algorithm.fusion.module=low_rank_bilinear"),
    "noise": (*SMALL, "--method", "backbone", *BUDGET, "--set", "dp.mechanism=laplace"),
}


@pytest.mark.parametrize("kind", [
    pytest.param(kind, marks=[] if kind == "method" else [pytest.mark.slow]) for kind in ASKED])
def test_an_invitation_names_it(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = ok("deploy", "invite", "--host", "link.example.org", *ASKED[kind], "--nodes", "2",
              "--out", str(out))
    assert "2 nodes, shard-0, shard-1, meet at link.example.org:8443" in said
    assert (out / "deploy" / "invitation.bin").stat().st_size
    config = (out / "config.toml").read_text(encoding="utf-8")
    assert {"method": METHOD, "backbone": "fcf", "grouping": "cross_polytope",
            "fusion": "low_rank_bilinear", "noise": "laplace"}[kind] in config


def test_a_node_joins_with_rows_in_its_layout(database: Path, tmp_path: Path) -> None:
    """The operator, who must have nobody's rows, is told by the layout which file has them."""
    asked = ("deploy", "invite", "--host", "localhost", "--set", "k_core=0", "--method",
             "backbone", "--rounds", "1", "--users", "3,3")
    done = cli(*asked, "--dataset", str(database), "--out", str(tmp_path / "no"))
    assert done.returncode == 2
    assert "holds interactions.db: users' rows stay with their nodes" in " ".join(
        done.stderr.split())
    public, run = tmp_path / "shop", tmp_path / "run"
    public.mkdir()
    (public / "items.csv").write_text("item_id\n" + "".join(f"{n}\n" for n in range(ITEMS)))
    ok(*asked, "--dataset", str(public), "--out", str(run))
    for node, users in enumerate((USERS[:3], USERS[3:])):
        rows = tmp_path / f"rows-{node}"
        rows.mkdir()
        write_sqlite(rows, [row for row in sample() if row[0] in users])
        ok("deploy", "join", str(run / "deploy" / "invitation.bin"), "--node", str(node), "--data",
           str(rows), "--out", str(tmp_path / f"shard-{node}"))
    answers = sorted(str(path) for path in tmp_path.glob("shard-*") if path.is_file())
    assert len(answers) == 2
    assert f"privfedmm deploy serve {run}" in " ".join(
        ok("deploy", "settle", str(run), *answers).split())


def test_a_way_of_summing_that_nodes_do_not_speak_is_refused(tmp_path: Path) -> None:
    asked = (*SMALL, "--method", "backbone", "--aggregation", "two_servers", "--nodes", "2")
    for command in (("local",), ("invite", "--host", "localhost")):
        done = cli("deploy", *command, *asked, "--out", str(tmp_path / command[0]))
        assert done.returncode == 2
        assert "nodes do not speak the protocol of two_servers; set plain or masked" in " ".join(
            done.stderr.split())


def played(way: str, flags: tuple[str, ...], installed: Path, out: Path) -> str:
    """The record of a deployment whose processes find the package where Python does."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "deploy", way, "--nodes", "2", *flags, "--out",
         str(out), "--json"],
        capture_output=True, text=True, check=False, cwd=root,
        env={**os.environ, "PYTHONPATH": f"{installed}:{root}"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["federation"]["nodes"] == 2
    return done.stdout


TOGETHER = {
    "backbone and grouping, masked": (
        (*ASKED["grouping"], "--set", "algorithm.model.backbone=fcf", "--aggregation", "masked"),
        (*PARTS["backbone"].shown, *PARTS["grouping"].shown)),
    "noise and fusion": (
        # Laplace noise costs by how much is sent, and a mix sends less than it is planned for.
        (*ASKED["fusion"], *BUDGET, "--set", "dp.mechanism=laplace", "--set", "mix.on=false"),
        (*PARTS["noise"].shown, *PARTS["fusion"].shown)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TOGETHER)
def test_it_is_deployed(name: str, installed: Path, tmp_path: Path) -> None:
    flags, shown = TOGETHER[name]
    out = tmp_path / "run"
    record = played("local", flags, installed, out)
    assert all(text in record for text in shown)
    # The nodes' own ledgers are priced by the events of the package as well.
    spent = [run["epsilon_spent"] for run in
             json.loads(ok("deploy", "budget", str(out), "--json"))["runs"]]
    assert spent == ([pytest.approx(8.0, rel=1e-3)] * 2 if "noise" in name else [None, None])
    shown_to_one = json.loads(ok("recommend", str(out), "--user", "u3", "--top", "3", "--json"))
    assert len(shown_to_one["items"]) == 3


WAYS = ["local", pytest.param("simulated", marks=pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is absent: pip install 'privfedmm[simulation]'"))]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_its_method_and_layout_are_deployed(
    way: str, database: Path, installed: Path, tmp_path: Path
) -> None:
    # A record names no layout, and these users are in its database alone.
    record = json.loads(played(way, (
        "--dataset", str(database), "--set", "k_core=0", "--rounds", "1", *BARE, "--method", METHOD,
        "--aggregation", "masked"), installed, tmp_path / "run"))
    assert record["method"] == METHOD and record["dataset"]["users"] == SHOP_USERS


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is absent: pip install "
                                                     "'privfedmm[simulation]'")
def test_its_parts_together_are_under_flowers_simulation(installed: Path, tmp_path: Path) -> None:
    flags = (*ASKED["grouping"], *BUDGET, "--set", "algorithm.model.backbone=fcf", "--set",
             "algorithm.fusion.module=low_rank_bilinear", "--set", "dp.mechanism=laplace")
    record = played("simulated", flags, installed, tmp_path / "run")
    assert all(text in record for kind in ("backbone", "grouping", "fusion", "noise")
               for text in PARTS[kind].shown)
