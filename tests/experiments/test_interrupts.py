"""Ctrl-C while a checkpoint is written, and a sweep that is killed."""

import os
import signal
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.deployment.processes import Processes
from privfedmm.base.errors import INTERRUPTED, UserError
from privfedmm.base.files import save_tensors
from privfedmm.base.interrupts import held, resumable
from tests.waiting import wait_until


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def _default_handler() -> Any:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_block_and_then_comes() -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt), held():
        interrupt()
        seen.append("whole")
    assert seen == ["whole"]
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_a_file_written_during_an_interrupt_is_whole(tmp_path: Path) -> None:
    class Interrupting:
        """A value whose pickling is interrupted, as torch.save may be anywhere."""

        def __reduce__(self) -> tuple[Any, ...]:
            interrupt()
            return (OrderedDict, ())

    path = tmp_path / "checkpoint.pt"
    (tmp_path / "config.toml").touch()
    with pytest.raises(UserError, match=f"--resume {tmp_path}") as stopped:
        resumable(lambda: {"": save_tensors(path, [torch.ones(3), Interrupting()])}, tmp_path)
    assert stopped.value.code == INTERRUPTED
    assert torch.equal(torch.load(path, weights_only=True)[0], torch.ones(3))


def test_before_the_run_began_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    def load() -> dict[str, Any]:
        interrupt()
        return {}

    with pytest.raises(UserError, match=r"^stopped before it began$") as stopped:
        resumable(load, tmp_path / "run")
    assert stopped.value.code == INTERRUPTED


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found through /proc")
def test_workers_of_a_killed_sweep_end(tmp_path: Path) -> None:
    plan, out, mark = tmp_path / "sweep.toml", tmp_path / "runs", ("PRIVFEDMM_TEST", str(tmp_path))
    plan.write_text("seeds = [0, 1]\n[base]\nrounds = 5000\nbaselines = []\n"
                    "[[variants]]\nlabel = \"long\"\n")
    sweep = subprocess.Popen(
        [sys.executable, "-m", "experiments", "sweep", str(plan), "--out", str(out),
         "--processes", "2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), mark[0]: mark[1]})
    try:
        wait_until(lambda: len(list(out.rglob("rounds.jsonl"))) == 2,
                   lambda: sweep.poll() is None, 0.1)
        alive = Processes(tmp_path, {}, mark)
        assert len(set(alive.survivors()) - {sweep.pid}) >= 2
        sweep.kill()
        sweep.wait()
        wait_until(lambda: not alive.survivors(), lambda: True, 0.1)
    finally:
        sweep.kill()
        for pid in Processes(tmp_path, {}, mark).survivors():
            os.kill(pid, signal.SIGKILL)
