"""The command line end to end, in processes of its own where that is what is tested."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privfedmm.base.errors import UserError
from privfedmm.config import resolve, to_toml
from tests.commands import BARE, cli
from tests.waiting import wait_until

QUICK = ["--rounds", "4", "--set", "baselines=['popularity']", "--set",
         "algorithm.opening.on=false"]


def apart(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what a script that calls it reads."""
    return subprocess.run(
        [sys.executable, "-m", "experiments", *arguments],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what a clock or a memory gauge put in."""
    out = {k: v for k, v in record.items() if k not in ("environment", "folder")}
    out["costs"] = {k: v for k, v in record["costs"].items() if k.startswith("bytes")}
    return out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "one"
    done = cli("run", *QUICK, "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return out, record


def test_the_run_folder_and_record_hold_what_the_contract_names(
    finished: tuple[Path, dict[str, Any]]
) -> None:
    out, record = finished
    for name in ("config.toml", "record.json", "rounds.jsonl", "ledger.json", "checkpoint.pt"):
        assert (out / name).exists()
    assert not list(out.glob("*.part"))
    assert {"name", "users", "items", "interactions", "sha256"} <= record["dataset"].keys()
    assert {"split", "ranking", "candidates", "ties"} <= record["protocol"].keys()
    keys = {"hr@10", "ndcg@10", "hr@50", "ndcg@50", "recall@20"}
    for target in ("validation", "test"):
        assert keys <= record["metrics"][target].keys()
        assert keys <= record["baselines"]["popularity"][target].keys()
    privacy = record["privacy"]
    assert {"unit", "adjacency", "trust", "epsilon", "delta", "epsilon_vs_server",
            "epsilon_vs_observers", "rounds", "noise_source", "releases"} <= privacy.keys()
    assert privacy["epsilon"] is None and "no privacy is claimed" in privacy["reason"]
    assert privacy["rounds"] == 4
    for release in privacy["releases"]:
        assert {"name", "noise_multiplier", "clip_norm", "count", "sampling_rate"} <= release.keys()
        assert release["count"] == 4
    costs = record["costs"]
    assert {"seconds", "bytes_up_per_client_round", "bytes_down_per_client_round",
            "peak_memory_bytes"} <= costs.keys()
    rows = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [1, 2, 3, 4]
    assert all("test" not in row for row in rows), "test metrics must not be watched in training"
    best = max(rows, key=lambda row: row["validation"]["ndcg@50"])
    assert best["round"] == record["best_round"]


def test_every_release_of_every_round_is_in_the_ledger(
    finished: tuple[Path, dict[str, Any]]
) -> None:
    out, record = finished
    ledger = json.loads((out / "ledger.json").read_text())
    names = {release["name"] for release in record["privacy"]["releases"]}
    assert {(e["round"], e["name"]) for e in ledger} == {(r, n) for r in range(4) for n in names}
    assert all(e["event"] == "NonPrivate" for e in ledger)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_record_and_another_does_not(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, record = finished
    again = apart("run", *QUICK, "--out", str(tmp_path / "again"), "--json")
    other = cli("run", *QUICK, "--seed", "1", "--out", str(tmp_path / "other"), "--json")
    assert comparable(json.loads(again.stdout)) == comparable(record)
    assert json.loads(other.stdout)["metrics"] != record["metrics"]


def test_a_finished_run_resumes_to_its_record(finished: tuple[Path, dict[str, Any]]) -> None:
    out, record = finished
    done = cli("run", "--resume", str(out), "--json")
    assert comparable(json.loads(done.stdout)) == comparable(record)


@pytest.mark.slow
def test_kill_and_resume_give_the_record_of_an_uninterrupted_run(tmp_path: Path) -> None:
    """SIGKILL at an unforeseen moment after the second round; the fusion network is in play."""
    arguments = ["--rounds", "8", "--set", "baselines=['popularity']"]
    whole = cli("run", *arguments, "--out", str(tmp_path / "whole"), "--json")
    assert whole.returncode == 0, whole.stderr
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments", "run", *arguments, "--out", str(out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    rounds = out / "rounds.jsonl"
    wait_until(lambda: rounds.exists() and rounds.read_text().count("\n") >= 2,
               lambda: process.poll() is None, 0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "record.json").exists()
    done = apart("run", "--resume", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert comparable(json.loads(done.stdout)) == comparable(json.loads(whole.stdout))
    for name in ("ledger.json", "config.toml"):
        assert (out / name).read_text() == (tmp_path / "whole" / name).read_text()
    rows = [json.loads(line) for line in rounds.read_text().splitlines()]
    assert [row["round"] for row in rows] == list(range(1, 13))


@pytest.mark.slow
def test_interrupt_leaves_a_resumable_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments", "run", "--rounds", "500", "--out", str(out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        # A shell starts background jobs with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    rounds = out / "rounds.jsonl"
    wait_until(lambda: rounds.exists() and rounds.read_text().count("\n") >= 2,
               lambda: process.poll() is None, 0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert f"privfedmm run --resume {out}" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_planted_groups_are_recovered(tmp_path: Path) -> None:
    done = cli("run", "--out", str(tmp_path / "planted"), "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["groups"]["adjusted_rand_index"] >= 0.9
    test = record["metrics"]["test"]
    assert test["ndcg@50"] > record["baselines"]["popularity"]["test"]["ndcg@50"]


@pytest.mark.slow
def test_multimodal_signal_is_used_on_planted(tmp_path: Path) -> None:
    """Fresh items are rare in training: only a model that reads content can rank them."""
    ndcg = {}
    for name in ("all", "none"):
        done = cli("run", "--rounds", "15", "--out", str(tmp_path / name), "--json",
                   "--modalities", name, "--set", "algorithm.groups.signal=user_vector",
                   "--set", "baselines=['random']")
        assert done.returncode == 0, done.stderr
        ndcg[name] = json.loads(done.stdout)["metrics"]["test_on_fresh_items"]["ndcg@50"]
    assert ndcg["all"] > 1.3 * ndcg["none"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run", "--dataset", "nowhere"], 2, "there is no data set or folder called nowhere"),
        (["run", "--rounds", "0"], 2, "rounds: Input should be greater than or equal to 1"),
        (["run", "--backbone", "gru"], 2, "--backbone"),
        (["run", "--set", "algorithm.local.epoch=3"], 2, "there is no such setting"),
        (["run", "--set", "rounds"], 2, "write it as path=value"),
        (["run", "--config", "absent.toml"], 2, "there is no file absent.toml"),
        (["run", "--resume", "absent"], 2, "is no run folder"),
        (["run", "--resume", "x", "--seed", "3"], 2, "give no other option"),
        (["run", "--modalities", "smell"], 2, "the data set has no smell features"),
        (["run", "--set", "baselines=['oracle']", "--rounds", "1"], 2,
         "baselines: there is no baseline 'oracle'; there are random"),
        (["run", "--set", "algorithm.groups.grouping=reference"], 2, "use backbone fedrap"),
        (["data", "get", "netflix"], 2, "cannot be fetched"),
        (["report", "nowhere"], 2, "no finished run"),
    ],
)
def test_mistakes_get_a_sentence_and_an_exit_code(
    arguments: list[str], code: int, sentence: str, tmp_path: Path
) -> None:
    done = cli(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_an_existing_folder_is_not_overwritten(finished: tuple[Path, dict[str, Any]]) -> None:
    out, _ = finished
    before = (out / "record.json").read_bytes()
    done = cli("run", *QUICK, "--out", str(out))
    assert done.returncode == 2 and "is not empty" in " ".join(done.stderr.split())
    assert (out / "record.json").read_bytes() == before


@pytest.mark.slow
def test_a_changed_ledger_stops_a_resume(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli("run", *QUICK, "--out", str(out)).returncode == 0
    (out / "record.json").unlink()
    rows = json.loads((out / "ledger.json").read_text())
    rows[0]["cohort"] += 1
    (out / "ledger.json").write_text(json.dumps(rows))
    done = cli("run", "--resume", str(out))
    assert done.returncode == 3 and "does not follow" in " ".join(done.stderr.split())


@pytest.mark.parametrize("damage", [b"", b"\x80 not a checkpoint", b"PK\x03\x04 cut"])
def test_a_damaged_checkpoint_is_a_sentence(damage: bytes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli("run", "--dataset", "planted:60", "--rounds", "1", *BARE, "--out",
               str(out)).returncode == 0
    (out / "checkpoint.pt").write_bytes(damage)
    found = cli("recommend", str(out), "--user", "u1")
    assert found.returncode == 2 and "is damaged" in " ".join(found.stderr.split())
    (out / "record.json").unlink()
    done = cli("run", "--resume", str(out))
    assert done.returncode == 2 and "cannot be continued" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr + found.stderr


@pytest.mark.parametrize("method", ["gfmfr", "backbone", "local"])
@pytest.mark.parametrize("backbone", ["mf", "fedrap"])
def test_methods_and_backbones_run(method: str, backbone: str, tmp_path: Path) -> None:
    done = cli("run", "--method", method, "--backbone", backbone, "--rounds", "2", "--json",
               "--set", "baselines=['random']", "--out", str(tmp_path / "r"))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    if method == "local":
        assert record["privacy"]["releases"] == []
        assert record["privacy"]["epsilon"] == 0.0
        assert record["costs"]["bytes_up_per_client_round"] == 0


@pytest.mark.slow
def test_reference_mode_runs_as_the_reference_does(tmp_path: Path) -> None:
    out = tmp_path / "r"
    done = cli("run", "--mode", "reference", "--rounds", "2", "--json",
               "--set", "algorithm.model.dim=8", "--set", "algorithm.fusion.epochs=3",
               "--set", "baselines=['random']", "--out", str(out))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    (out / "record.json").unlink()
    again = cli("run", "--resume", str(out), "--json")
    assert comparable(json.loads(again.stdout)) == comparable(record)
    kinds = {r["name"]: r["kind"] for r in record["privacy"]["releases"]}
    assert kinds["network_update"] == "individual"
    assert "reads every client's own item_update, network_update" in record["privacy"]["reason"]


def test_a_config_survives_its_own_toml(tmp_path: Path) -> None:
    for flags in ({}, {"mode": "reference"}, {"algorithm.modalities": ["text"], "rounds": 7}):
        config = resolve(None, flags)
        file = tmp_path / "c.toml"
        file.write_text(to_toml(config))
        assert resolve(file, {}) == config


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("rounds = 7\n[algorithm.local]\nepochs = 2\n")
    config = resolve(file, {"rounds": 9})
    assert (config.rounds, config.algorithm.local.epochs) == (9, 2)
    file.write_text("[algorithm.local]\nepoch = 2\n")
    with pytest.raises(UserError, match=r"algorithm.local.epoch: there is no such setting"):
        resolve(file, {})


@pytest.mark.slow
def test_bench_round_prints_json_only() -> None:
    done = apart("bench", "round", "--json", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"ratio", "train_cpu_seconds", "evaluate_seconds", "peak_memory_bytes"} <= result.keys()
    assert result["max_update_difference"] < 1e-4
    assert result["ratio"] == pytest.approx(
        result["loop_cpu_seconds"] / result["train_cpu_seconds"])


def test_bench_dp_compares_each_method_with_itself() -> None:
    done = cli("bench", "dp", "--json", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["methods"].keys() == {"group_statistics", "gfmfr"}
    for taken in result["methods"].values():
        # What is added to rounds of 60 users says nothing; that it is measured does.
        ratio = taken["private_cpu_seconds"] / taken["plain_cpu_seconds"]
        assert taken["plain_cpu_seconds"] > 0
        assert taken["added"] == pytest.approx(ratio - 1)


@pytest.mark.slow
def test_sweep_and_report(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        "seeds = [0, 1]\n[base]\nrounds = 2\nbaselines = ['popularity']\n"
        "[[variants]]\nlabel = 'whole'\n"
        "[[variants]]\nlabel = 'bare'\nmethod = 'backbone'\n"
    )
    done = cli("sweep", str(plan), "--out", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
    first = {p: p.stat().st_mtime for p in (tmp_path / "runs").rglob("record.json")}
    assert len(first) == 4
    assert cli("sweep", str(plan), "--out", str(tmp_path / "runs")).returncode == 0
    assert {p: p.stat().st_mtime for p in (tmp_path / "runs").rglob("record.json")} == first
    done = cli("report", str(tmp_path / "runs"), "--against", "bare")
    assert done.returncode == 0, done.stderr
    assert "| whole | none | gfmfr | 2 |" in done.stdout and "*popularity*" in done.stdout
    ranks = np.load(next((tmp_path / "runs").rglob("ranks.npz")))
    assert set(ranks.files) == {"validation", "test"}
