"""`privfedmm audit` end to end: three parts, resumed, refused, reported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.report import sabotage_table
from experiments.report.sabotage_table import HONEST, markdown, rate, write_table
from privacy import PrivacyStack
from privacy.audit import sabotage
from privfedmm import assemble as composition
from privfedmm.audit.attack_matrix import mode_config
from privfedmm.audit.audit_run import AUDIT, PART, Options, audit_run
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.runs.run import load_data
from tests.commands import cli

ROOT = Path(__file__).parents[2]
RUN = ("run", "--dataset", "planted:80", "--method", "backbone", "--dp-epsilon", "2", "--noise",
       "simulation", "--set", "dp.subspace_rank=0", "--set", "algorithm.model.dim=8", "--set",
       "baselines=[]")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audited") / "run"
    done = cli(*RUN, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def audited(run_folder: Path) -> tuple[Path, dict[str, Any], str]:
    done = cli("audit", str(run_folder), "--quick", "--audit-seed", "5", "--json")
    assert done.returncode == 0, done.stderr
    return run_folder, json.loads(done.stdout), done.stderr


def test_one_object_with_three_parts(audited: tuple[Path, dict[str, Any], str]) -> None:
    folder, result, said = audited
    assert json.loads((folder / AUDIT).read_text()) == result
    assert not (folder / PART).exists()
    assert result["passed"] and result["faults"] == [] and result["quick"]
    empirical = result["empirical"]
    assert empirical["passed"] and empirical["canaries"] == 200 and empirical["audit_seed"] == 5
    assert empirical["claimed"] == pytest.approx(2.0, abs=1e-6)
    assert empirical["bounds_verdict"]["mean_shift"] <= 2
    assert {"auc", "tpr_at_1_percent_fpr", "estimate", "bounds_95", "notes"} <= empirical.keys()
    assert list(result["attacks"]) == ["plain", "masked", "central"]
    assert all(found["skipped"] is None for found in result["attacks"].values())
    for words in ("budget", "empirical audit: round 8 of 8", "attacks: masked"):
        assert words in said


def test_what_is_finished_is_not_played_again(
    audited: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    shutil.copytree(audited[0], tmp_path / "run")
    folder = tmp_path / "run"
    told: list[str] = []
    options = Options(quick=True, seed=5)
    again = audit_run(folder, options, told.append)
    assert told == ["budget"]
    assert again["attacks"] == audited[1]["attacks"]
    # Cut off while the last mode was attacked, after a part file was begun.
    kept = {name: again[name] for name in ("key", "audit_seed", "empirical", "attacks")}
    gone = kept["attacks"].pop("central")
    (folder / AUDIT).unlink()
    (folder / PART).write_text(json.dumps(kept))
    told.clear()
    resumed = audit_run(folder, options, told.append)
    assert told == ["budget", "attacks: central"]
    assert not (folder / PART).exists()
    assert resumed["attacks"]["central"]["cells"] == gone["cells"], "the same seed as before"
    (folder / PART).write_text("{half a fi")
    (folder / AUDIT).unlink()
    told.clear()
    audit_run(folder, replace(options, parts=("budget", "empirical")), told.append)
    assert "empirical audit: round 1 of 8" in told and not any("attacks" in t for t in told)


@pytest.mark.slow
def test_after_a_change_of_the_code_it_is_audited_anew(
    audited: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    """A pass of other code is none: it used to be repeated, in no time."""
    shutil.copytree(audited[0], tmp_path / "run")
    for package in ("privacy", "privfedmm", "experiments"):
        shutil.copytree(ROOT / package, tmp_path / "code" / package,
                        ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "code" / "privacy" / "gaussian.py").open("a", encoding="utf-8") as file:
        file.write("# other sources\n")
    done = subprocess.run(
        [sys.executable, "-c", "from experiments.cli import main; main()", "audit",
         str(tmp_path / "run"), "--quick", "--audit-seed", "5", "--parts", "empirical"],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "code")}, cwd=tmp_path)
    assert "round 1 of 8" in done.stderr


def test_a_changed_run_or_other_options_are_audited_anew(
    audited: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    shutil.copytree(audited[0], tmp_path / "run")
    told: list[str] = []
    other = audit_run(tmp_path / "run", Options(quick=True, seed=6, parts=("empirical",)),
                      told.append)
    assert other["empirical"]["audit_seed"] == 6 and len(told) == 9
    assert other["attacks"] == {}
    record = tmp_path / "run" / "record.json"
    changed = json.loads(record.read_text())
    changed["privacy"]["epsilon"] = 1.0
    record.write_text(json.dumps(changed))
    done = cli("audit", str(tmp_path / "run"), "--quick", "--audit-seed", "5")
    assert done.returncode == 3 and "overspent" in done.stderr
    assert "the budget check failed" in " ".join(done.stderr.split())


def test_a_broken_stack_ends_with_exit_code_3(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mechanism of the very run, with its noise halved behind the ledger's back."""
    shutil.copytree(run_folder, tmp_path / "run")
    build = vars(composition)["build_stack"]

    def broken(*arguments: Any, **named: Any) -> PrivacyStack:
        return sabotage(build(*arguments, **named), "noise_off")

    monkeypatch.setattr(composition, "build_stack", broken)
    done = cli("audit", str(tmp_path / "run"), "--parts", "empirical", "--audit-seed", "1")
    assert done.returncode == 3
    assert "is not what is stated: " in " ".join(done.stderr.split())
    result = json.loads((tmp_path / "run" / AUDIT).read_text())
    assert not result["passed"] and not result["empirical"]["passed"]
    assert set(result["empirical"]["violations"]) >= {"one_run", "gaussian_one_run"}


def test_a_run_without_a_claim_is_attacked_but_not_audited_empirically(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    assert cli("run", "--dataset", "planted:60", "--rounds", "1", "--set", "baselines=[]",
               "--set", "algorithm.opening.on=false", "--out", out).returncode == 0
    done = cli("audit", out, "--quick")
    assert done.returncode == 0, done.stderr
    assert "skipped, the run claims no epsilon" in " ".join(done.stderr.split())
    result = json.loads((tmp_path / "run" / AUDIT).read_text())
    cells = {c["attack"]: c for c in result["attacks"]["plain"]["cells"]}
    assert cells["signed rows"]["f1"][0] > 0.95


def test_changed_data_is_not_audited(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    record = tmp_path / "run" / "record.json"
    changed = json.loads(record.read_text())
    changed["dataset"]["sha256"] = "0" * 64
    record.write_text(json.dumps(changed))
    result = audit_run(tmp_path / "run", Options(quick=True), lambda text: None)
    assert "its digest is not the one" in " ".join(result["faults"])
    assert result["empirical"] == {"skipped": "the budget check failed"}
    assert {m["skipped"] for m in result["attacks"].values()} == {"the budget check failed"}


def test_options_out_of_range() -> None:
    with pytest.raises(UserError, match="no part 'attack'"):
        Options(parts=("attack",))
    with pytest.raises(UserError, match="too few for any bound"):
        Options(canaries=4)
    with pytest.raises(UserError, match="0 or more"):
        Options(seed=-1)


def test_a_report_gains_the_audit_and_the_comparison(
    audited: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    shutil.copytree(audited[0], tmp_path / "runs" / "one")
    comparison = {
        "dataset": "planted", "method": "backbone", "seed": 0, "rounds": 3, "modes": {"plain": {
            "metrics": {"test": {"ndcg@50": 0.1}}, "max_update_difference": 0.0,
            "quantisation_bound": None, "bytes_up_per_client_round": 1024.0,
            "bytes_down_per_client_round": 2048.0, "seconds": {"train": 1.0},
            "leak": {"why_not": "none"}, "dropout": {}}}}
    (tmp_path / "runs" / "compare.json").write_text(json.dumps(comparison))
    page = tmp_path / "page.html"
    done = cli("report", str(tmp_path / "runs"), "--out", str(tmp_path / "r.md"))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "r.md").read_text()
    for words in ("## Ways of summing: planted, backbone, seed 0, 3 rounds", "## Audit: one",
                  "| plain | signed rows | upload",
                  "| lower bound mean_shift |", "swapped item features: the method uses no item"):
        assert words in text
    assert cli("report", str(tmp_path / "runs"), "--html", str(page)).returncode == 0
    assert "Audit of one" in page.read_text()
    (tmp_path / "runs" / "one" / AUDIT).write_text("{}")
    done = cli("report", str(tmp_path / "runs"))
    assert done.returncode == 2 and "audit the run again" in done.stderr


@pytest.mark.slow
def test_rates_of_faults_in_a_run_s_stack() -> None:
    config = resolve(None, {"dataset": "planted:80", "method": "backbone", "dp.epsilon": 2.0,
                            "dp.subspace_rank": 0, "dp.noise": "simulation",
                            "algorithm.model.dim": 8, "rounds": 4})
    data = load_data(config)
    faults = (HONEST, "noise_off", "noise_per_client_once")
    found = {fault: {place: rate(mode_config(config, place), data, fault, range(2))
                     for place in ("central", "distributed", "local")} for fault in faults}
    assert found["noise_off"]["central"].failed == 2
    assert found[HONEST]["central"].failed == 0
    assert found["noise_per_client_once"]["central"].refused
    text = markdown(config, data, found, range(2))
    assert "| noise_off | 2/2 (2/2), epsilon beyond 1000 |" in text
    assert "seeds 0 to 1" in text and "- refused: noise_per_client_once" in text
    assert "- central: 1 of 1 faults noticed in at least 95% of audits; no other" in text
    assert "- honest: 0 of 6 audits failed" in text


@pytest.mark.slow
def test_a_table_of_faults_goes_on_where_it_was_cut_short(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The faults are three, to be quick; the audits are real."""
    monkeypatch.setattr(sabotage_table, "SABOTAGES", ("noise_off", "cohort_miscounted"))
    told: list[str] = []

    def stop(text: str) -> None:
        told.append(text)
        if len(told) == 4:
            raise KeyboardInterrupt

    out = tmp_path / "new" / "table.md"
    with pytest.raises(KeyboardInterrupt):
        write_table(run_folder, out, stop, (0,), (0, 1))
    parts = json.loads((tmp_path / "new" / "table.md.part.json").read_text())["cells"]
    assert list(parts) == ["central none (honest)", "central noise_off",
                           "central cohort_miscounted"]
    write_table(run_folder, out, told.append, (0,), (0, 1))
    text = out.read_text()
    assert "| none (honest) | 0/2" in text and "| cohort_miscounted | 1/1" in text
    assert "width" in text and list(out.parent.iterdir()) == [out]
