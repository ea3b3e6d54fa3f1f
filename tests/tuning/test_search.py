"""A search by validation metrics: resumable, repeatable, counted and priced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from privacy.accounting import Spent
from privacy.composition import composed
from privfedmm.base.errors import INTERRUPTED
from privfedmm.tuning.trials import opened
from tests.commands import cli

pytest.importorskip("optuna", reason="the extra 'tune' is not installed")

QUICK = ("--dataset", "planted:60", "--method", "backbone", "--rounds", "2", "--set",
         "baselines=[]", "--param", "algorithm.local.lr_user=1e-3..1:log", "--param",
         "algorithm.local.epochs=1..3")
PRIVATE = ("--dataset", "planted:60", "--dp-epsilon", "2", "--set", "baselines=[]", "--param",
           "statistics.groups=2..4", "--trials", "2")


def _result(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "tune.json").read_text())
    return found


def _choices(out: Path) -> list[tuple[dict[str, Any], float]]:
    return [(row["settings"], row["value"]) for row in _result(out)["trials"]
            if row["state"] == "finished"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tune") / "search"
    done = cli("tune", *QUICK, "--trials", "4", "--seed", "3", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"privfedmm run --config {out / 'best.toml'}\n"
    assert "4 looks at validation" in " ".join(done.stderr.split())
    return out


def test_the_printed_command_gives_what_was_found_and_records_the_looks(
    found: Path, tmp_path: Path
) -> None:
    result, command = _result(found), _result(found)["command"].split()[1:]
    assert result["best"]["value"] == max(value for _, value in _choices(found))
    done = cli(*command, "--out", str(tmp_path / "run"), "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["metrics"]["validation"]["ndcg@50"] == result["best"]["value"]
    assert record["tuned"] == {
        "looks": 4, "metric": "ndcg@50", "epsilon": None,
        "settings": ["algorithm.local.lr_user", "algorithm.local.epochs"]}
    assert "4 looks at validation ndcg@50" in record["privacy"]["settings_chosen"]


def test_nothing_about_test_items_is_kept(found: Path) -> None:
    assert "test" not in json.dumps(_result(found)["trials"])
    assert "test" not in (found / "best.toml").read_text()
    with opened(found) as trials:
        assert [row["value"] for row in trials.rows()] == [value for _, value in _choices(found)]


@pytest.mark.slow
def test_a_search_that_was_interrupted_finds_the_same(found: Path, tmp_path: Path) -> None:
    out = tmp_path / "search"
    with subprocess.Popen(
        [sys.executable, "-m", "experiments", "tune", *QUICK, "--trials", "4", "--seed", "3",
         "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as program:
        assert program.stderr is not None
        first = program.stderr.readline()
        program.send_signal(signal.SIGINT)
        said = program.stderr.read().splitlines()
    assert first.startswith("look 1: algorithm.local.lr_user=")
    assert program.returncode == INTERRUPTED
    assert said[-1] == f"privfedmm: stopped; continue with: privfedmm tune --resume {out}"
    refused = cli("tune", "--resume", str(out), "--metric", "hr@10")
    assert refused.returncode == 2 and "takes the settings" in refused.stderr
    done = cli("tune", "--resume", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert _choices(out) == _choices(found)
    # A look that was cut short was begun, and counts.
    looks, states = _result(out)["looks"], [row["state"] for row in _result(out)["trials"]]
    assert looks == len(states) == 4 + states.count("interrupted")


def test_more_looks_go_on_and_begin_where_another_search_ended(
    found: Path, tmp_path: Path
) -> None:
    out = tmp_path / "more"
    done = cli("tune", "--config", str(found / "best.toml"), "--param", "rounds=1..2", "--trials",
               "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert _result(out)["looks"] == 5
    done = cli("tune", "--resume", str(out), "--trials", "2")
    assert done.returncode == 0 and _result(out)["looks"] == 6
    again = cli("tune", "--config", str(found / "best.toml"), "--param", "rounds=1..2", "--out",
                str(out))
    assert again.returncode == 2 and "is not empty" in again.stderr


def test_settings_that_do_not_fit_have_failed_and_the_search_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "search"
    done = cli("tune", *QUICK[:8], "--param", "algorithm.local.lr_user=1e-2,1e30", "--trials", "4",
               "--out", str(out))
    rows = _result(out)["trials"]
    failed = [row for row in rows if row["state"] == "failed"]
    assert failed and all("lower the learning rates" in row["why"] for row in failed)
    assert (done.returncode == 0) == any(row["state"] == "finished" for row in rows)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder in which nothing was spent."""
    monkeypatch.setenv("PRIVFEDMM_STATE", str(tmp_path / "state"))


@pytest.mark.usefixtures("empty")
def test_under_a_budget_the_price_is_said_before_it_is_paid(tmp_path: Path) -> None:
    out = tmp_path / "search"
    done = cli("tune", *PRIVATE, "--out", str(out))
    said = " ".join(done.stderr.split())
    assert done.returncode == 2 and not out.exists()
    assert "2 looks and the run that they lead to are 3 private runs together: epsilon 3." in said
    assert "no claim covers" in said and "--accept-price" in said
    assert json.loads(cli("budget", "planted:60", "--json").stdout)["runs"] == []

    done = cli("tune", *PRIVATE, "--out", str(out), "--accept-price")
    assert done.returncode == 0, done.stderr
    result = _result(out)
    assert "no claim covers" in result["said"][1] and result["price"]["runs"] == 3
    held = json.loads(cli("budget", "planted:60", "--json").stdout)
    assert len(held["runs"]) == 2 and all(run["finished"] for run in held["runs"])

    run = cli(*result["command"].split()[1:], "--out", str(tmp_path / "run"), "--json")
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    held = json.loads(cli("budget", "planted:60", "--json").stdout)
    paid = composed([[Spent(**e) for e in one["charges"]] for one in held["runs"]],
                    record["privacy"]["delta"])
    assert record["tuned"]["looks"] == 2
    assert record["tuned"]["epsilon"] == pytest.approx(paid, rel=1e-6)
    assert result["price"]["epsilon"] == pytest.approx(paid, rel=1e-6)
    chosen = record["privacy"]["not_covered"][0]
    assert chosen.startswith("the choice of statistics.groups by 2 looks at validation ndcg@50")
    more = cli("tune", "--resume", str(out), "--trials", "3")
    assert more.returncode == 2 and "4 private runs together" in " ".join(more.stderr.split())


@pytest.mark.usefixtures("empty")
def test_a_limit_of_the_account_stops_a_search(tmp_path: Path) -> None:
    cli("budget", "planted:60", "--dataset-budget", "2.5")
    done = cli("tune", *PRIVATE, "--out", str(tmp_path / "search"), "--accept-price")
    assert done.returncode == 3 and "--dataset-budget" in done.stderr


@pytest.mark.usefixtures("empty")
def test_noise_that_can_be_repeated_claims_nothing_and_says_so(tmp_path: Path) -> None:
    done = cli("tune", *PRIVATE, "--set", "dp.noise=simulation", "--out", str(tmp_path / "search"))
    said = " ".join(done.stderr.split())
    assert done.returncode == 0 and "the 2 looks claim nothing" in said
    assert "no claim covers" in said
