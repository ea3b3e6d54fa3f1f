"""Results are neither lost nor mixed: folders, locks, identities, changed settings, bad disks."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import privfedmm as pf
from experiments.cli.arguments import folder_of
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.runs import run as runs
from privfedmm.runs.account import Account
from privfedmm.runs.folder import LOCK, new_folder
from tests.commands import BARE, cli
from tests.disks import files_end_at, mounted

ROOT = Path(__file__).parents[2]
SMALL = ("run", "--dataset", "planted:60", "--method", "popularity", *BARE)


def played(out: Path, *more: str) -> dict[str, Any]:
    done = cli(*SMALL, "--out", str(out), "--json", *more)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def words(text: str) -> str:
    return " ".join(text.split())


def table(text: str) -> dict[str, list[str]]:
    """Rows of a report by their first cell."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in (
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


# Parallel runs

def test_names_of_run_folders_are_unique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = resolve(None, {})

    def hold(_: int) -> Path:
        with folder_of(None, config) as folder:
            (folder / "kept").touch()
        return folder

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(hold, range(24)))) == 24
    with folder_of(None, config) as folder:
        assert folder.is_dir()
    assert not folder.exists(), "a run that wrote nothing leaves nothing"


@pytest.mark.slow
def test_four_runs_at_once_leave_four_records(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [subprocess.Popen(
        [sys.executable, "-m", "experiments", *SMALL], cwd=tmp_path, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4
    assert len(list(tmp_path.rglob("record.json"))) == 4


def test_a_folder_in_use_is_refused_until_its_process_ends(tmp_path: Path) -> None:
    out = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; from pathlib import Path\n"
         "from privfedmm.runs.folder import new_folder\n"
         "with new_folder(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()",
         str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert holder.stdin is not None and holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        done = cli(*SMALL, "--out", str(out))
        assert done.returncode == 2 and "another process is at work in" in words(done.stderr)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert [path.name for path in out.iterdir()] == [LOCK]
    assert played(out)["method"] == "popularity"


def test_a_resume_takes_the_lock_as_well(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with new_folder(out):
        (out / "config.toml").write_text("rounds = 1\n")
        done = cli("run", "--resume", str(out))
    assert done.returncode == 2 and "another process is at work in" in words(done.stderr)


def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    for arguments in (("--dataset", "nowhere"), ("--modalities", "smell")):
        done = cli("run", *arguments, "--out", str(tmp_path / "run"))
        assert done.returncode == 2
        assert cli("run", *arguments, cwd=tmp_path).returncode == 2
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]
    assert list((tmp_path / "runs").iterdir()) == []


# Changed settings

@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A run whose rounds are over and whose record is still to be written."""
    out = tmp_path / "run"
    played(out)
    (out / "record.json").unlink()
    return out


def edit(out: Path, old: str, new: str) -> None:
    text = (out / "config.toml").read_text()
    assert old in text
    (out / "config.toml").write_text(text.replace(old, new))


def test_an_edited_config_is_refused_with_the_difference(unfinished: Path) -> None:
    edit(unfinished, "\nrounds = 1", "\nrounds = 5")
    done = cli("run", "--resume", str(unfinished))
    assert done.returncode == 2
    assert "was edited since the run began: rounds: 1 -> 5" in words(done.stderr)
    assert not (unfinished / "record.json").exists()


def test_data_may_lie_elsewhere(unfinished: Path) -> None:
    edit(unfinished, 'dataset = "planted:60"', 'dataset = "planted:060"')
    assert cli("run", "--resume", str(unfinished)).returncode == 0


def test_an_edited_config_of_a_finished_run_is_refused(tmp_path: Path) -> None:
    played(tmp_path / "run")
    edit(tmp_path / "run", "seed = 0", "seed = 7")
    done = cli("run", "--resume", str(tmp_path / "run"))
    assert done.returncode == 2 and "seed: 0 -> 7" in words(done.stderr)


PLAN = """seeds = [0]
[base]
dataset = "planted:60"
baselines = []
rounds = 2
[[variants]]
label = "one"
method = "popularity"
[[variants]]
label = "two"
method = "taste"
"""


def test_a_changed_sweep_is_refused_or_made_beside(tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.toml", tmp_path / "runs"
    plan.write_text(PLAN)
    sweep = ("sweep", str(plan), "--out", str(out))
    assert cli(*sweep).returncode == 0
    first = {path: path.read_bytes() for path in out.rglob("record.json")}
    assert len(first) == 2
    assert "0 runs played, 2 were there" in words(cli(*sweep).stderr)
    plan.write_text(PLAN.replace('"taste"', '"taste"\n[variants.statistics]\nridge = 5.0'))
    done = cli(*sweep)
    assert done.returncode == 2, done.stderr
    assert "1 of the runs are there with other settings" in words(done.stderr)
    assert "statistics.ridge: 3.0 -> 5.0" in words(done.stderr)
    assert cli(*sweep, "--beside").returncode == 0
    after = {path: path.read_bytes() for path in out.rglob("record.json")}
    assert len(after) == 3 and first.items() <= after.items()
    assert "0 runs played, 3 were" not in words(cli(*sweep, "--beside").stderr)
    assert after == {path: path.read_bytes() for path in out.rglob("record.json")}


def test_two_variants_of_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN.replace('"two"', '"one"'))
    done = cli("sweep", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "runs"))
    assert done.returncode == 2 and "give each variant a label of its own" in words(done.stderr)


# Damaged records

def damaged(record: dict[str, Any], how: str) -> str:
    text = json.dumps(record)
    if how == "cut":
        return text[: len(text) // 2]
    if how == "list":
        return f"[{text}]"
    return json.dumps({**record, "metrics": {**record["metrics"], "test": {"ndcg@50": "high"}}})


@pytest.mark.parametrize("how", ["cut", "list", "types"])
def test_a_damaged_record_is_named_and_left_out(how: str, tmp_path: Path) -> None:
    record = played(tmp_path / "runs" / "good", "--label", "good")
    shutil.copytree(tmp_path / "runs" / "good", tmp_path / "runs" / "bad")
    bad = tmp_path / "runs" / "bad" / "record.json"
    bad.write_text(damaged(record, how))
    page = tmp_path / "page.html"
    done = cli("report", str(tmp_path / "runs"))
    assert done.returncode == 2 and str(bad) in words(done.stderr)
    assert "good" in table(done.stdout) and f"Left out: {bad} is damaged" in done.stdout
    done = cli("report", str(tmp_path / "runs"), "--html", str(page))
    assert done.returncode == 2 and "Left out: " in page.read_text()
    with pytest.warns(UserWarning, match="compare: left out"):
        assert len(pf.compare([tmp_path / "runs" / "good", tmp_path / "runs" / "bad"])) == 1
    done = cli("run", "--resume", str(bad.parent))
    assert done.returncode == 2 and "remove that file" in words(done.stderr)
    bad.unlink()
    assert cli("run", "--resume", str(bad.parent)).returncode == 0
    assert json.loads(bad.read_text())["metrics"] == record["metrics"]


def test_a_sweep_names_a_damaged_record_and_plays_the_others(tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.toml", tmp_path / "runs"
    plan.write_text(PLAN.replace("seeds = [0]", "seeds = [0, 1]"))
    sweep = ("sweep", str(plan), "--out", str(out))
    assert cli(*sweep).returncode == 0
    (out / "one" / "seed0" / "record.json").write_text("{")
    shutil.rmtree(out / "two" / "seed1")
    done = cli(*sweep)
    assert done.returncode == 2 and "one seed 0" in done.stderr.splitlines()[-1]
    assert (out / "two" / "seed1" / "record.json").exists()


# Disks

def test_a_full_disk_is_told_before_the_work(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=300k") as disk:
        done = cli("run", "--dataset", "planted:60", *BARE, "--out", str(disk / "run"))
        assert done.returncode == 2
        assert "KiB of room left" in words(done.stderr) and str(disk) in words(done.stderr)
        assert "Traceback" not in done.stderr and "round 1" not in done.stderr
        assert list(disk.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro") as disk:
        done = cli(*SMALL, "--out", str(disk / "run"))
        assert done.returncode == 2 and "cannot be written (Read-only" in words(done.stderr)
        done = cli("report", str(tmp_path), "--out", str(disk / "r.md"))
        assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_checkpoint_without_room_leaves_nothing(tmp_path: Path) -> None:
    """What the disk has is not known beforehand: a quota is. The account is given back."""
    data = pf.load("planted:60")
    before = Account(data).read()
    with files_end_at(66_000), pytest.raises(UserError, match="cannot be written") as told:
        pf.train(data, "gfmfr", rounds=1, baselines=[], out=tmp_path / "plain")
    assert told.value.code == 2 and not (tmp_path / "plain").exists()
    with files_end_at(66_000), pytest.raises(UserError, match="cannot be written"):
        pf.train(data, "gfmfr", rounds=1, baselines=[], dp_epsilon=2.0,
                 out=tmp_path / "private")
    assert not (tmp_path / "private").exists()
    assert Account(data).read()["runs"] == before["runs"]


def test_a_disk_that_fills_in_a_run_loses_no_round(tmp_path: Path) -> None:
    config = resolve(None, {"dataset": "planted:60", "rounds": 3, "baselines": []})
    data = runs.load_data(config)
    _, whole = runs.in_folder(config, data, tmp_path / "whole", lambda row: None)
    out, limit = tmp_path / "full", resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(row: dict[str, Any]) -> None:
        if row["round"] == 2:
            size = (out / "rounds.jsonl").stat().st_size + 5
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))

    try:
        with pytest.raises(UserError, match=f"continue with --resume {out}"):
            runs.in_folder(config, data, out, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    rows = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [1, 2] and not list(out.rglob("*.part"))
    assert runs.resume(out, lambda row: None)["metrics"] == whole["metrics"]


def test_a_finished_run_on_a_disk_that_is_read_only_is_still_read(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=20m") as disk:
        record = played(disk / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert cli("run", "--resume", str(disk / "run")).returncode == 0
        assert cli("recommend", str(disk / "run"), "--user", "u3").returncode == 0
        assert f"{record['metrics']['test']['ndcg@50']:.4f}" in cli("report", str(disk)).stdout
        done = cli("audit", str(disk / "run"), "--parts", "budget")
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "audit" in done.stderr and "Read-only file system" in words(done.stderr)


def test_a_comparison_refuses_runs_of_other_settings(tmp_path: Path) -> None:
    compare = ("compare", "--dataset", "planted:60", "--method", "popularity", "--modes", "plain",
               "--dropouts", "", "--out", str(tmp_path / "c"))
    assert cli(*compare).returncode == 0
    assert cli(*compare).returncode == 0
    done = cli(*compare, "--seed", "3")
    assert done.returncode == 2 and "seed: 0 -> 3" in words(done.stderr)
    (tmp_path / "c" / "plain" / "record.json").write_text("{")
    done = cli(*compare)
    assert done.returncode == 2 and "record.json is damaged" in words(done.stderr)
