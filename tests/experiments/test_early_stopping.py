"""Training stops by itself where validation no longer rises, says so, and never under a budget."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import privfedmm as pf
from experiments.benchmarks.patience import Curve, bench, stopped
from privfedmm.base.errors import UserError
from privfedmm.config import resolve, resolve_saved, to_toml
from privfedmm.config.sections import FIXED_ROUNDS, PATIENCE, ROUNDS
from privfedmm.runs import run as runs
from tests.commands import cli

# Of training alone: an opening and a mix have rounds of their own.
ALONE = {"algorithm.opening.on": False}
FLAGS = {"dataset": "planted:60", "baselines": [], "seed": 1, **ALONE}
PATIENT = 3


def folder_run(out: Path, **flags: Any) -> dict[str, Any]:
    config = resolve(None, {**FLAGS, **flags})
    return runs.start(config, out, lambda row: None)


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 30 rounds that nothing stops."""
    out = tmp_path_factory.mktemp("whole") / "run"
    folder_run(out, rounds=30, **{"evaluation.patience": 0})
    return out


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("early") / "run"
    folder_run(out, rounds=30, **{"evaluation.patience": PATIENT})
    return out


def test_it_stops_where_the_whole_curve_says_and_reports_the_best_round(
    whole: Path, early: Path
) -> None:
    curve = [row["validation"]["ndcg@50"] for row in rows_of(whole)]
    best, waited = 0, 0
    for number, value in enumerate(curve):
        best, waited = (number, 0) if value > curve[best] or not number else (best, waited + 1)
        if waited == PATIENT:
            break
    assert number < len(curve) - 1, "the run must stop before its last round for this to test it"
    record = json.loads((early / "record.json").read_text())
    assert [row["validation"]["ndcg@50"] for row in rows_of(early)] == curve[:number + 1]
    assert record["rounds_run"] == number + 1 and record["best_round"] == best + 1
    assert record["metrics"]["validation"]["ndcg@50"] == curve[best]
    assert record["stopped"] == {
        "round": number + 1, "of_at_most": 30,
        "why": f"{PATIENT} evaluations in a row had no better validation ndcg@50 "
               "(evaluation.patience)"}
    # The model that is kept is the best round's as well, not the last one's.
    shown = cli("recommend", str(early), "--user", "u1", "--json")
    assert json.loads(shown.stdout)["model"] == f"best, round {best + 1}"


def test_a_run_that_nothing_stops_says_so(whole: Path) -> None:
    record = json.loads((whole / "record.json").read_text())
    assert record["stopped"] == {
        "round": 30, "of_at_most": 30, "why": "all 30 rounds were played"}


def test_an_interrupted_run_stops_where_it_would_have(early: Path, tmp_path: Path) -> None:
    def interrupt(row: dict[str, Any]) -> None:
        if row["round"] == json.loads((early / "record.json").read_text())["rounds_run"] - 1:
            raise KeyboardInterrupt

    config = resolve(None, {**FLAGS, "rounds": 30, "evaluation.patience": PATIENT})
    with pytest.raises(KeyboardInterrupt):
        runs.start(config, tmp_path / "cut", interrupt)
    record = runs.resume(tmp_path / "cut", lambda row: None)
    expected = json.loads((early / "record.json").read_text())
    for name in ("rounds_run", "best_round", "stopped", "metrics"):
        assert record[name] == expected[name]


def test_the_flag_and_its_summary(tmp_path: Path) -> None:
    done = cli("run", "--dataset", "planted:60", "--seed", "1", "--rounds", "30", "--patience",
               "1", "--set", "baselines=[]", "--set", "algorithm.opening.on=false", "--out",
               str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    rounds = len(rows_of(tmp_path / "run"))
    told = " ".join(done.stderr.split())
    assert f"trained {rounds} rounds of at most 30: 1 evaluations in a row" in told


def test_patience_is_on_by_default_where_rounds_may_end_by_what_they_tell() -> None:
    plain = resolve(None, {})
    assert (plain.rounds, plain.evaluation.patience) == (ROUNDS, PATIENCE) and PATIENCE > 0
    for fixed in (
        resolve(None, {"dp.epsilon": 2.0, "method": "gfmfr"}),
        resolve(None, {"dp.epsilon": 2.0, "dp.unit": "interaction", "method": "gfmfr"}),
        resolve(None, {"dp.epsilon": float("inf")}),
        resolve(None, {"mode": "reference"}),
        resolve(None, {}, fixed_rounds=True),
    ):
        assert fixed.evaluation.patience == 0 and fixed.rounds <= FIXED_ROUNDS
    asked = resolve(None, {"evaluation.patience": 4, "rounds": 70}, fixed_rounds=True)
    assert (asked.rounds, asked.evaluation.patience) == (70, 4)


def test_patience_under_a_budget_is_refused_in_a_sentence(tmp_path: Path) -> None:
    done = cli("run", "--dp-epsilon", "2", "--patience", "5", "--out", str(tmp_path / "run"))
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert "evaluation.patience: under a budget" in done.stderr
    assert "set rounds" in done.stderr and len(done.stderr.splitlines()) == 1
    file = tmp_path / "config.toml"
    file.write_text("[dp]\nepsilon = 2.0\n[evaluation]\npatience = 5\n")
    with pytest.raises(UserError, match="would be a release"):
        resolve(file, {})
    with pytest.raises(pf.UserError, match="would be a release"):
        pf.train("planted:60", dp_epsilon=2.0, patience=5)
    # A run folder of an earlier version, in which it had no effect, stays readable.
    assert resolve_saved(file).evaluation.patience == 0
    assert resolve(None, {"dp.epsilon": 2.0, "evaluation.patience": 0}).evaluation.patience == 0


def test_a_private_run_plays_all_its_rounds_and_says_why() -> None:
    run = pf.train("planted:60", dp_epsilon=2.0, method="gfmfr", rounds=4, noise="simulation",
                   baselines=[], settings=ALONE)
    assert run.record["stopped"] == {
        "round": 4, "of_at_most": 4,
        "why": "all 4 rounds were played; under a budget their number is fixed"}


def test_a_callback_that_ends_a_run_is_told_apart() -> None:
    run = pf.train("planted:60", method="backbone", rounds=9, baselines=[],
                   callbacks=[lambda row: row["round"] == 2])
    assert run.record["stopped"] == {"round": 2, "of_at_most": 9, "why": "a callback ended it"}


def test_patience_counts_evaluations_not_rounds() -> None:
    run = pf.train("planted:60", rounds=40, patience=2, seed=1, baselines=[],
                   settings={"evaluation.every": 3, **ALONE})
    judged = [row for row in run._rows if "validation" in row]
    assert len(judged) == run.record["rounds_run"] // 3 < 13
    assert [row["best"] for row in judged[-2:]] == [False, False]


def test_a_deployment_has_a_fixed_number_of_rounds(tmp_path: Path) -> None:
    """Nodes need not tell how well they are served, so nothing could stop it."""
    pytest.importorskip("flwr")
    done = cli("deploy", "invite", "--host", "127.0.0.1", "--dataset", "planted:36", "--nodes",
               "3", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    saved = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert saved["rounds"] == FIXED_ROUNDS and saved["evaluation"]["patience"] == 0


def test_a_saved_config_is_the_same_config_again(tmp_path: Path) -> None:
    for flags in ({}, {"dp.epsilon": 2.0}, {"evaluation.patience": 7}):
        config = resolve(None, flags)
        (tmp_path / "c.toml").write_text(to_toml(config))
        assert resolve_saved(tmp_path / "c.toml") == config


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), min_size=1, max_size=30),
       st.integers(0, 6), st.integers(1, 30))
def test_a_stopped_curve_is_the_start_of_the_whole(
    values: list[float], patience: int, cap: int
) -> None:
    curve = Curve("x", 0, len(values), tuple(values), tuple(1 - v for v in values),
                  (2.0,) * len(values))
    found = stopped(curve, patience, cap)
    seen = values[:found.rounds]
    assert found.rounds <= cap and found.seconds == 2.0 * found.rounds
    assert found.best == seen.index(max(seen)) and found.test == 1 - max(seen)
    assert found.lost == pytest.approx(max(values) - max(seen))
    since = found.rounds - 1 - found.best
    assert since < patience or patience == 0 or since == patience
    if found.rounds < min(cap, len(values)):
        assert patience and since == patience


def test_curves_are_collected_once_and_make_a_table(tmp_path: Path) -> None:
    told: list[str] = []
    text = bench(["planted:60"], [1], 6, tmp_path, told.append)
    assert len(told) == 1 and "planted:60, seed 1: best validation" in told[0]
    saved = json.loads(next(tmp_path.glob("*.json")).read_text())
    alike = pf.train("planted:60", seed=1, rounds=6, patience=0, baselines=[], settings=ALONE)
    assert saved["validation"] == [row["validation"]["ndcg@50"] for row in alike._rows]
    assert saved["test"][alike.record["best_round"] - 1] == (
        alike.record["metrics"]["test"]["ndcg@50"])
    assert bench([], [], 6, tmp_path, told.append) == text and len(told) == 1
    row = next(line for line in text.splitlines() if line.startswith("| 6 | never |"))
    assert row.split("|")[3].strip() == "0.0%" and "| planted:60 | 1 | 6 |" in text
    with pytest.raises(UserError, match="--curves"):
        bench([], [], 6, tmp_path / "none", told.append)
