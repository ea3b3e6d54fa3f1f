"""What the program says of itself, and how it ends: version, completion, refusals, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import privfedmm
from privfedmm.base.errors import INTERRUPTED
from tests.commands import cli
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


def test_it_says_its_version() -> None:
    done = cli("--version")
    assert (done.returncode, done.stdout) == (0, f"privfedmm {privfedmm.__version__}\n")


@pytest.mark.parametrize(("arguments", "words"), [
    (("swep",), r"No such command 'swep'\. Did you mean 'sweep'.*; see privfedmm --help"),
    (("run", "--rounds", "x"), "'--rounds': 'x' is not a valid integer; see privfedmm run --help"),
    (("run", "--dp-epsilo", "2"), r"No such option '--dp-epsilo'\..*'--dp-epsilon'.*"),
    (("audit",), "Missing argument 'FOLDER'; see privfedmm audit --help"),
    (("data", "get"), "Missing argument 'NAME'; see privfedmm data get --help"),
])
def test_what_the_parser_refuses_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = cli(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(f"privfedmm: .*{words}\n", done.stderr), done.stderr


def test_without_a_command_it_shows_what_there_is() -> None:
    for words in ((), ("data",)):
        done = cli(*words)
        assert done.returncode == 2 and "Usage: privfedmm" in done.stdout + done.stderr


def _program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "experiments", *arguments], capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT), **environment})


@pytest.mark.parametrize(("typed", "offered"), [
    ("privfedmm comp", {"compare"}),
    ("privfedmm data e", {"encode"}),
    ("privfedmm run --dp-e", {"--dp-epsilon"}),
])
def test_the_shell_completes_what_is_typed(typed: str, offered: set[str]) -> None:
    done = _program(_PRIVFEDMM_COMPLETE="complete_bash", COMP_WORDS=typed,
                    COMP_CWORD=str(len(typed.split()) - 1))
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == offered


def test_the_script_of_the_shell_can_be_read_before_it_is_installed() -> None:
    done = _program("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0 and "complete -o default -F _privfedmm_completion" in done.stdout


# A file that has just been imported when the interrupt is sent: of this program, of the parser, of
# libraries that take their time.
@pytest.mark.parametrize("loaded", ["privfedmm.base.interrupts", "click.core",
                                    "experiments.cli.run", "numpy", "torch._C",
                                    "torch.nn.modules"])
def test_an_interrupt_while_libraries_load_is_quiet(loaded: str, tmp_path: Path) -> None:
    said = []
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "experiments", "run", "--dataset",
         "planted:60", "--out", str(tmp_path / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as program:
        assert program.stdout is not None and program.stderr is not None
        for line in program.stderr:
            if not line.startswith("import time:"):
                said.append(line)
            elif line.rpartition("|")[2].strip() == loaded:
                program.send_signal(signal.SIGINT)
        printed = program.stdout.read()
    assert program.returncode == INTERRUPTED
    assert said == ["privfedmm: stopped\n"] and printed == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_interrupt_between_rounds_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-m", "experiments", "run", "--dataset", "planted:60", "--method",
         "backbone", "--rounds", "5000", "--set", "baselines=[]", "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as program:
        assert program.stderr is not None
        first = program.stderr.readline()
        program.send_signal(signal.SIGINT)
        said = program.stderr.read().splitlines()
    assert first.startswith("round 1: ") and program.returncode == INTERRUPTED
    assert said[-1] == f"privfedmm: stopped; continue with: privfedmm run --resume {out}"
    assert all(line.startswith("round ") for line in said[:-1])


@pytest.mark.slow
def test_an_interrupt_of_a_sweep_is_quiet_in_its_workers(tmp_path: Path) -> None:
    plan = tmp_path / "sweep.toml"
    plan.write_text("seeds = [0, 1]\n[base]\ndataset = \"planted:60\"\nrounds = 5000\n"
                    "baselines = []\n[[variants]]\nlabel = \"long\"\n")
    with subprocess.Popen(
        [sys.executable, "-m", "experiments", "sweep", str(plan), "--out", str(tmp_path / "runs"),
         "--processes", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
    ) as program:
        assert program.stderr is not None
        wait_until(lambda: bool(list(tmp_path.rglob("rounds.jsonl"))),
                   lambda: program.poll() is None)
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the workers as well
        said = program.stderr.read()
    assert program.returncode == INTERRUPTED
    assert said == ("privfedmm: stopped; the same command goes on with the runs that are left\n")


def test_square_brackets_and_colons_are_shown_as_they_are(tmp_path: Path) -> None:
    """They are names of extras, films and folders, and no markup or pictures."""
    folder = tmp_path / "[bold] data"
    folder.mkdir()
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "".join(
        f"u{user},i{item},{item}\n" for user in range(9) for item in range(9) if user != item))
    (folder / "items.csv").write_text("item_id,title\n" + "".join(
        f"i{item},[REC] :cat: {'abcdefghi'[item] * 4}\n" for item in range(9)))
    out = tmp_path / "[red]"
    done = cli("run", "--dataset", str(folder), "--method", "popularity", "--set", "baselines=[]",
               "--set", "encoders.text_model=hashing", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "[red]" in done.stderr and "[bold] data" in done.stderr
    assert "[red]" in (out / "log.txt").read_text()
    shown = cli("recommend", str(out), "--user", "u1", "--top", "2")
    assert shown.stdout.count("[REC] :cat:") == 2
    listed = cli("history", str(tmp_path))
    assert "[red]" in listed.stdout
