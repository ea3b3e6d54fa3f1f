"""No copy of a source draws what the source draws: across calls, copies, pickles and forks."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from privacy import SimulationSource, Source, SystemSource

_FORKED = """
import os, sys
from privacy import SystemSource
source = SystemSource()
source.raw("before", 0, 16)
child = os.fork() == 0
sys.stdout.write(source.raw("noise", 1, 16).hex() + "\\n")
sys.stdout.flush()
if not child:
    os.wait()
"""


def drawn(source: Source) -> list[bytes]:
    """One draw of each form, under the same label and round."""
    return [source.raw("noise", 1, 32), source.uniform("noise", 1, 4).tobytes(),
            source.normal("noise", 1, 4).tobytes()]


@pytest.mark.parametrize("copied", [
    copy.copy, copy.deepcopy, lambda source: pickle.loads(pickle.dumps(source))],  # noqa: S301
    ids=["copy", "deepcopy", "pickle"])
def test_a_copy_of_the_systems_source_draws_other_numbers(copied: object) -> None:
    source = SystemSource()
    drawn(source)
    other = copied(source)  # type: ignore[operator]
    assert all(a != b for a, b in zip(drawn(source), drawn(other), strict=True))


def test_a_forked_process_draws_other_numbers() -> None:
    done = subprocess.run([sys.executable, "-c", _FORKED], capture_output=True, text=True,
                          check=True)
    one, other = done.stdout.split()
    assert one != other


def test_two_calls_draw_other_numbers() -> None:
    source = SystemSource()
    assert all(a != b for a, b in zip(drawn(source), drawn(source), strict=True))


def test_the_simulated_source_repeats_by_label_and_round_alone() -> None:
    one, two = SimulationSource(3), SimulationSource(3)
    assert drawn(one) == drawn(two) == drawn(copy.deepcopy(one))
    assert not np.array_equal(one.normal("noise", 1, 4), one.normal("noise", 2, 4))
    assert drawn(one) != drawn(SimulationSource(4))
