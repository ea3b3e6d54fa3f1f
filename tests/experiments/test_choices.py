"""Options with a closed list of values: the parser lists it, completes from it, refuses others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from experiments.cli import choices
from privfedmm.audit.audit_run import PARTS
from privfedmm.config import DPSettings, RunConfig
from privfedmm.loggers import NAMES
from tests.commands import cli


@pytest.mark.parametrize(("listed", "settings", "field"), [
    (choices.MODES, RunConfig, "mode"), (choices.SPLITS, RunConfig, "split"),
    (choices.DUPLICATES, RunConfig, "duplicates"), (choices.TRUSTS, DPSettings, "trust"),
    (choices.UNITS, DPSettings, "unit"), (choices.SAMPLINGS, DPSettings, "sampling"),
    (choices.NOISES, DPSettings, "noise")])
def test_the_lists_are_those_of_the_settings(
    listed: tuple[str, ...], settings: Any, field: str
) -> None:
    assert set(listed) == set(get_args(settings.model_fields[field].annotation))


def test_the_lists_are_those_of_the_code() -> None:
    assert choices.PARTS == PARTS and choices.LOGGERS == NAMES


@pytest.mark.parametrize(("option", "listed"), [
    ("--mode", choices.MODES), ("--split", choices.SPLITS), ("--duplicates", choices.DUPLICATES),
    ("--trust", choices.TRUSTS), ("--unit", choices.UNITS), ("--sampling", choices.SAMPLINGS),
    ("--noise", choices.NOISES), ("--log", choices.LOGGERS),
    ("--method", ("gfmfr", "backbone", "group_statistics")), ("--backbone", ("mf", "fedrap")),
    ("--aggregation", ("plain", "masked")), ("--group-statistics", ("plain", "encrypted")),
])
def test_another_value_is_refused_with_the_list(option: str, listed: tuple[str, ...]) -> None:
    done = cli("run", option, "nope")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"privfedmm: Invalid value for '{option}': ")
    assert "nope" in done.stderr and all(name in done.stderr for name in listed)


@pytest.mark.parametrize("words", [
    ("audit", "x", "--parts", "budget,nope"), ("compare", "--method", "nope"),
    ("tune", "--method", "nope"), ("deploy", "local", "--trust", "nope"),
    ("bench", "round", "--backbone", "nope")])
def test_so_it_is_with_other_commands(words: tuple[str, ...]) -> None:
    done = cli(*words)
    assert done.returncode == 2 and "nope" in done.stderr and "Invalid value" in done.stderr


def test_a_registered_name_is_listed_and_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from privfedmm.methods import METHODS

    METHODS.register(replace(METHODS.get("popularity"), name="mine"))
    try:
        assert "mine" in cli("run", "--method", "nope").stderr
        taken = cli("run", "--method", "mine", "--dataset", "nowhere")
        assert "Invalid value" not in taken.stderr
    finally:
        METHODS.forget("mine")


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "offered"), [
    ("privfedmm run --trust ", set(choices.TRUSTS)),
    ("privfedmm run --method gf", {"gfmfr"}),
    ("privfedmm sweep head", {"headline"}),
])
def test_values_are_completed(typed: str, offered: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "experiments"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]),
             "_PRIVFEDMM_COMPLETE": "complete_bash", "COMP_WORDS": typed,
             "COMP_CWORD": str(len(typed.split(" ")) - 1)})
    assert done.returncode == 0 and set(done.stdout.split()) == offered, done.stderr
