"""What a user must know is said: choices made for them, budgets without sense, options without
effect, clips of the wrong size, and audits of nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import privfedmm as pf
from experiments.report.audit_summary import summary
from privfedmm.audit.attack_matrix import mode_config
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.front.verdict import verdict
from tests.commands import BARE, cli
from tests.experiments.test_results_kept import played, words

QUICK = ("run", "--dataset", "planted:60", *BARE)


def said(tmp_path: Path, *more: str) -> str:
    done = cli(*QUICK, "--out", str(tmp_path / "run"), *more)
    assert done.returncode == 0, done.stderr
    return words(done.stderr)


def test_the_method_that_a_budget_picks_is_told_with_the_other(tmp_path: Path) -> None:
    text = said(tmp_path / "1", "--dp-epsilon", "8", "--noise", "simulation")
    assert "method: group_statistics, since a budget is given" in text
    assert "for the other give --method gfmfr" in text
    assert "since a budget" not in said(
        tmp_path / "2", "--dp-epsilon", "8", "--noise", "simulation", "--method", "popularity")
    assert "since a budget" not in said(tmp_path / "3", "--method", "popularity")
    (tmp_path / "c.toml").write_text("method = 'popularity'\n")
    assert "since a budget" not in said(
        tmp_path / "4", "--dp-epsilon", "8", "--noise", "simulation", "--config",
        str(tmp_path / "c.toml"))


@pytest.mark.parametrize(("epsilon", "figures"), [
    ("1e-6", ("leaves no signal: the noise on every sum has a standard deviation of 4.008e+04",
              "60 users who all say the same come to 60 at most")),
    ("1e6", ("promises next to nothing", "may be right 100.0000000% of the time")),
])
def test_budgets_without_sense_are_warned_of(
    epsilon: str, figures: tuple[str, ...], tmp_path: Path
) -> None:
    text = said(tmp_path, "--dp-epsilon", epsilon, "--noise", "simulation")
    assert all(figure in text for figure in figures)


def test_budgets_of_sense_are_not_warned_of(tmp_path: Path) -> None:
    for epsilon in ("1", "8", "inf"):
        assert "warning" not in said(
            tmp_path / epsilon, "--dp-epsilon", epsilon, "--noise", "simulation")


def test_a_cohort_needs_no_budget(tmp_path: Path) -> None:
    done = cli(*QUICK, "--sampling-rate", "0.2", "--rounds", "3", "--set",
               "algorithm.opening.on=false", "--json", "--out", str(tmp_path / "a"))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert {release["sampling_rate"] for release in record["privacy"]["releases"]} == {0.2}
    rows = [json.loads(line) for line in (tmp_path / "a" / "rounds.jsonl").read_text().splitlines()]
    assert [row["survivors"] for row in rows] == [12, 12, 12]
    # Drawn by the seed, and with the sums of a masked run too.
    for name, more in (("b", ()), ("c", ("--aggregation", "masked"))):
        again = cli(*QUICK, "--sampling-rate", "0.2", "--rounds", "3", "--set",
                    "algorithm.opening.on=false", "--json", *more, "--out", str(tmp_path / name))
        assert again.returncode == 0, again.stderr
        if not more:
            assert json.loads(again.stdout)["metrics"] == record["metrics"]
    with pytest.raises(UserError, match=r"cohort: under a budget dp.sampling says"):
        resolve(None, {"cohort": 0.2, "dp.epsilon": 1.0})
    assert mode_config(resolve(None, {"cohort": 0.2}), "central").cohort == 1


def test_a_cohort_of_nobody_or_without_a_fixed_key_holder_is_refused(tmp_path: Path) -> None:
    for more, sentence in (
        (("--sampling-rate", "0.001"), "cohort: a fixed cohort must be between 1 and 59"),
        (("--sampling-rate", "0.5", "--group-statistics", "encrypted"),
         "everyone must take part"),
    ):
        done = cli(*QUICK, *more, "--out", str(tmp_path / "run"))
        assert done.returncode == 2 and sentence in words(done.stderr)


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("run", "--k-core", "1000"), "so 1000 would do nothing"),
    (("deploy", "local", "--nodes", "0"), "--nodes: 0 nodes host nobody"),
    (("deploy", "local", "--wait", "0"), "--wait: 0 seconds is no time"),
    (("deploy", "invite", "--host", "a", "--nodes", "0"), "--nodes: 0 nodes host nobody"),
    (("deploy", "invite", "--host", "a", "--nodes", "2", "--users", "3,4"),
     "--users says already how many"),
    (("report", ".", "--gallery", "2"), "give --html FILE as well"),
    (("audit", ".", "--parts", "budget", "--canaries", "20"), "which --parts leaves out"),
    (("audit", ".", "--parts", "attacks", "--full-protocol"), "which --parts leaves out"),
    (("run", "--aggregation", "masked", "--set", "secure.clip_norm=1e30"),
     "secure.clip_norm: Input should be less than or equal to 1000000"),
])
def test_options_without_effect_are_refused(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    done = cli(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and sentence in words(done.stderr)
    assert not any((tmp_path / "runs").glob("*"))


RING = ("--aggregation", "masked", "--set", "secure.mode=ring", "--rounds", "2")


def test_uploads_that_are_all_cut_short_are_warned_of_once(tmp_path: Path) -> None:
    text = said(tmp_path / "a", *RING, "--set", "secure.clip_norm=0.001")
    assert text.count("60 of 60 uploads were longer than secure.clip_norm = 0.001") == 1
    text = said(tmp_path / "b", "--method", "gfmfr", "--dp-epsilon", "8", "--noise", "simulation",
                "--rounds", "3", "--set", "dp.clip_norm=1e-6")
    assert text.count("60 of 60 uploads were longer than dp.clip_norm = 1e-06") == 1
    assert "warning" not in said(tmp_path / "c", *RING)


def test_a_grid_that_is_too_coarse_is_warned_of_once(tmp_path: Path) -> None:
    text = said(tmp_path, *RING, "--set", "secure.clip_norm=1e6", "--set", "secure.levels=16")
    assert text.count("nearly every value is rounded to 0; lower secure.clip_norm = 1e+06") == 1


# Audits

def audited(claims: bool, cells: list[dict[str, Any]], faults: list[str]) -> dict[str, Any]:
    return {"passed": not faults, "faults": faults, "seconds": 1.0, "bound": "", "releases": [],
            "prices": {}, "empirical": None, "attacks": {"plain": {"cells": cells}},
            "claimed": {"epsilon": 2.0 if claims else None, "delta": 1e-5, "unit": "user",
                        "trust": "central"}}


def cell(attack: str, view: str, f1: float, chance: float) -> dict[str, Any]:
    return {"attack": attack, "view": view, "f1": [f1, f1, f1], "chance_f1": chance}


def test_a_verdict_says_passed_only_of_a_claim() -> None:
    strong, weak = cell("signed rows", "upload", 1.0, 0.1), cell("signed rows", "upload", 0.3, 0.1)
    assert verdict(audited(True, [strong], []), "plain") == "passed"
    assert verdict(audited(False, [strong], ["hash chain"]), "plain") == "FAILED: hash chain"
    nothing = "done: nothing is claimed, so there is nothing to pass"
    assert verdict(audited(False, [strong], []), "plain") == (
        f"{nothing}: plain uploads give every interaction away (F1 1.00)")
    assert verdict(audited(False, [weak, cell("group", "upload", 1.0, 0.2)], []), "plain") == (
        f"{nothing}: plain uploads give away F1 0.30 of 'signed rows', where chance gives 0.10")
    assert verdict(audited(False, [strong], []), "masked").startswith(
        f"{nothing}; --parts attacks shows")


@pytest.mark.slow
def test_an_audit_of_nothing_never_ends_with_passed(tmp_path: Path) -> None:
    done = cli(*QUICK, "--rounds", "1", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    done = cli("audit", str(tmp_path / "run"), "--quick", "--parts", "attacks")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "nothing is claimed, so there is nothing to pass: plain uploads give every" in lines[-1]
    shown = [line for line in lines if not line.startswith(("budget", "attacks: "))]
    assert len(shown) <= 10 and "passed" not in done.stderr and "┏" not in done.stderr
    more = cli("audit", str(tmp_path / "run"), "--quick", "--parts", "attacks", "--verbose")
    assert "┏" in more.stderr and more.stderr.splitlines()[-1][:60] == lines[-1][:60]
    report = cli("report", str(tmp_path / "run"))
    assert "Audit done: nothing is claimed" in report.stdout and "passed" not in report.stdout
    found = pf.open_run(tmp_path / "run").audit(quick=True, seed=1, parts=("budget",))
    assert "passed" not in repr(found) and "nothing is claimed" in repr(found)


@pytest.mark.slow
def test_the_first_screen_of_an_audit_is_ten_lines(tmp_path: Path) -> None:
    played(tmp_path / "run", "--dp-epsilon", "4", "--noise", "simulation")
    found = pf.open_run(tmp_path / "run").audit(quick=True, seed=1)
    lines = summary(found.result, "plain")
    assert len(lines) <= 10 and lines[-1].startswith("audit passed")
    assert any(line.startswith("canaries: ") for line in lines)
