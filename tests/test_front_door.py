"""The front door for Python: the same run as the command line's, and nothing written unasked."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import privfedmm as pf
from privfedmm.evaluation import to_arrays
from privfedmm.front import training
from tests.commands import cli

FLAGS: dict[str, Any] = {"method": "group_statistics", "dp_epsilon": 2.0, "noise": "simulation",
                         "seed": 3, "baselines": ["popularity"]}


@pytest.fixture(scope="module")
def data() -> pf.Dataset:
    return pf.load("planted:120")


@pytest.fixture(scope="module")
def run(data: pf.Dataset) -> pf.Run:
    return pf.train(data, **FLAGS)


def test_it_is_the_run_of_the_command_line(run: pf.Run, tmp_path: Path) -> None:
    done = cli("run", "--dataset", "planted:120", "--dp-epsilon", "2", "--noise", "simulation",
               "--seed", "3", "--set", 'baselines=["popularity"]', "--out", str(tmp_path / "r"))
    assert done.returncode == 0, done.stderr
    other = pf.open_run(tmp_path / "r")
    assert other.record["metrics"] == run.record["metrics"]
    assert np.array_equal(to_arrays(other.ranks)["test"], to_arrays(run.ranks)["test"])
    ours = run.recommend(user="u5", top=4, explain=True)
    pd.testing.assert_frame_equal(ours, other.recommend(user="u5", top=4, explain=True))
    assert list(other.curve.index) == list(run.curve.index)


def test_nothing_is_written(data: pf.Dataset, tmp_path: Path,
                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = pf.train(data, method="popularity", dp_epsilon=2.0, noise="simulation", baselines=[])
    assert found.audit(parts=("budget",)).passed
    assert list(tmp_path.iterdir()) == []


def test_frames_and_pictures(run: pf.Run) -> None:
    metrics = run.metrics
    assert ("group_statistics", "test") in metrics.index and ("popularity", "test") in metrics.index
    assert len(run.ledger) == len(run.curve) and run.epsilon is not None and run.epsilon <= 2.0
    assert "group_statistics" in repr(run) and "<table" in run._repr_html_()


def test_its_audit_attacks_and_judges(run: pf.Run) -> None:
    found = run.audit(quick=True, seed=1)
    assert found.passed, found.faults
    assert {"plain", "masked", "central"} <= set(found.attacks["mode"])
    assert found.empirical["passed"] and "<table" in found._repr_html_()


def test_callbacks_see_rounds_and_may_stop(data: pf.Dataset) -> None:
    seen: list[int] = []

    def stop(row: dict[str, Any]) -> bool:
        seen.append(row["round"])
        return len(seen) == 2

    run = pf.train(data, method="backbone", rounds=5, baselines=[], callbacks=[stop])
    assert seen == [1, 2] and run.record["rounds_run"] == 2
    with pytest.raises(pf.UserError, match="part of what was promised"):
        pf.train(data, rounds=2, **{**FLAGS, "method": "gfmfr"},
                 callbacks=[lambda row: True])


def test_compare_and_sweep(data: pf.Dataset) -> None:
    table = pf.sweep(data, {"popularity": {"method": "popularity"},
                            "taste": {"method": "taste"}}, seeds=(0, 1), baselines=[])
    assert list(table["label"]) == ["popularity", "popularity", "taste", "taste"]
    assert table["difference"][0] == 0 and table["difference_high"][2] >= table["difference"][2]
    one = pf.train(pf.load("planted:60"), method="popularity", baselines=[])
    other = pf.train(data, method="popularity", baselines=[])
    with pytest.raises(pf.UserError, match="differ in dataset"):
        pf.compare([one, other])


def test_faults_are_sentences(data: pf.Dataset) -> None:
    for arguments, words in (
        ({"method": "gru4rec"}, "there are gfmfr, backbone"),
        ({"settings": {"algorithm.local.epoch": 3}}, "no such setting"),
        ({"trust": "local"}, "dp_epsilon|--dp-epsilon"),
    ):
        with pytest.raises(pf.UserError, match=words):
            pf.train(data, **arguments)


@pytest.mark.parametrize("module", [pf, training])
def test_examples_in_docstrings_run(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
