"""Ctrl-C while a checkpoint is written."""

import os
import signal
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.errors import INTERRUPTED, UserError
from experiments.files import save_tensors
from experiments.interrupts import held, resumable


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
    with pytest.raises(UserError, match=f"--resume {tmp_path}") as stopped:
        resumable(lambda: {"": save_tensors(path, [torch.ones(3), Interrupting()])}, tmp_path)
    assert stopped.value.code == INTERRUPTED
    assert torch.equal(torch.load(path, weights_only=True)[0], torch.ones(3))
