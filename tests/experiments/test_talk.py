"""What commands say on standard error, less or more of it, and the log and history that keep it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.commands import cli

RUN = ("run", "--dataset", "planted:60", "--method", "popularity", "--set", "baselines=[]")
STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} +\S.*")


def _log(folder: Path) -> list[str]:
    lines = (folder / "log.txt").read_text(encoding="utf-8").splitlines()
    assert all(STAMPED.fullmatch(line) for line in lines), lines
    return [line.partition(" ")[2] for line in lines]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("talk") / "run"
    done = cli(*RUN, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == f"wrote {out}/record.json"
    return out


def test_the_log_has_what_was_said(ran: Path) -> None:
    said = _log(ran)
    assert said[0] == f"$ privfedmm {' '.join(RUN).replace('baselines=[]', repr('baselines=[]'))} "\
                      f"--out {ran}"
    assert any(line.startswith("round 1: ") for line in said)
    assert any("popularity" in line for line in said[2:])
    assert said[-1] == f"wrote {ran}/record.json"


def test_whoever_is_quiet_says_nothing_and_logs_all(ran: Path, tmp_path: Path) -> None:
    for number, words in enumerate((("--quiet", *RUN), (*RUN, "-q"))):
        out = tmp_path / str(number)
        done = cli(*words, "--out", str(out))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        kinds = [line.split()[0] for line in _log(out)]
        assert kinds == [line.split()[0] for line in _log(ran)]
    done = cli(*RUN, "--quiet", "--json", "--out", str(tmp_path / "json"))
    assert json.loads(done.stdout)["method"] == "popularity" and done.stderr == ""
    done = cli("run", "--quiet", "--resume", str(tmp_path / "nowhere"))
    assert done.returncode == 2 and done.stderr.startswith("privfedmm: --resume: ")


def test_whoever_is_verbose_sees_details_and_where_an_error_came_from(tmp_path: Path) -> None:
    done = cli("-v", *RUN, "--out", str(tmp_path / "run"))
    assert "given: dataset=planted:60, method=popularity" in done.stderr
    done = cli("run", "--resume", str(tmp_path / "nowhere"), "--verbose")
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("privfedmm: --resume: ")
    done = cli(*RUN, "--quiet", "--verbose", "--out", str(tmp_path / "other"))
    assert done.returncode == 2 and "give one of them" in done.stderr


def test_a_run_that_is_refused_leaves_the_log_of_another_alone(ran: Path) -> None:
    before = _log(ran)
    done = cli(*RUN, "--out", str(ran))
    assert done.returncode == 2 and "is not empty" in done.stderr
    assert _log(ran) == before


def test_what_is_done_later_with_a_run_is_in_its_log_and_history(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "one"
    assert cli(*RUN, "--out", str(out)).returncode == 0
    (out / "record.json").unlink()
    (out / "checkpoint.pt").write_bytes(b"damaged")
    done = cli("run", "--resume", str(out))
    assert done.returncode == 2 and _log(out)[-1].startswith("privfedmm: ")
    found = json.loads(cli("history", str(tmp_path / "runs"), "--json").stdout)
    assert [row["folder"] for row in found] == [str(out), str(out)]
    assert [row["command"].split()[1:3] for row in found] == [
        ["run", "--dataset"], ["run", "--resume"]]
    assert found[0]["last"] == f"wrote {out}/record.json"
    assert found[1]["last"] == " ".join(done.stderr.split())
    shown = cli("history", cwd=tmp_path)
    assert shown.returncode == 0 and "resume" in shown.stdout
    none = cli("history", str(tmp_path / "empty"))
    assert none.returncode == 2 and "holds no log.txt" in none.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli(*RUN, "--out", str(out)).returncode == 0
    (out / "log.txt").chmod(0o400)
    done = cli("run", "--resume", str(out))
    assert done.returncode == 0 and "going on without a log" in done.stderr


def test_a_log_that_is_a_folder_ends_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli(*RUN, "--out", str(out)).returncode == 0
    (out / "log.txt").unlink()
    (out / "log.txt").mkdir()
    done = cli("run", "--resume", str(out))
    assert done.returncode == 0 and "going on without a log" in done.stderr


@pytest.mark.parametrize("words", [
    ("report", "{run}", "--out", "{tmp}/page.md"), ("report", "{run}", "--html", "{tmp}/p.html"),
    ("audit", "{run}", "--parts", "budget"),
    ("release", "{run}", "{tmp}/bundle", "--no-claim"),
    ("compare", "--dataset", "planted:60", "--method", "popularity", "--modes", "plain",
     "--dropouts", "0", "--out", "{tmp}/compared"),
])
def test_whatever_writes_says_what_it_wrote(
    words: tuple[str, ...], ran: Path, tmp_path: Path
) -> None:
    done = cli(*(word.format(run=ran, tmp=tmp_path) for word in words))
    assert done.returncode == 0, done.stderr
    wrote = re.findall(r"^wrote (.*)$", done.stderr, re.MULTILINE)
    assert wrote and all(Path(place).exists() for place in wrote), done.stderr
    assert not (tmp_path / "bundle" / "log.txt").exists()
