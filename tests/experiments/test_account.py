"""The account of a data set: what several private runs on the same users cost together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import privfedmm as pf
from privacy import calibrate
from privacy.accounting import Spent
from privacy.composition import composed
from privacy.sampling import Everyone
from privfedmm.base.errors import PRIVACY_VIOLATION, UserError
from privfedmm.config import resolve
from privfedmm.data import drop_features, load
from privfedmm.runs import run as runs
from privfedmm.runs.account import Account, totals, users_digest
from tests.commands import cli

FLAGS: dict[str, Any] = {"dataset": "planted:60", "method": "popularity", "dp.epsilon": 2.0,
                         "baselines": []}


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder in which nothing was spent."""
    monkeypatch.setenv("PRIVFEDMM_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def _start(out: Path, **flags: Any) -> dict[str, Any]:
    return runs.start(resolve(None, {**FLAGS, **flags}), out, lambda row: None)


def _budget(*more: str) -> dict[str, Any]:
    done = cli("budget", "planted:60", "--json", *more)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _gaussian(epsilon: float, delta: float = 1e-5) -> Spent:
    return Spent(0, "Gaussian", calibrate(epsilon, delta, 1, Everyone(), 60), 1.0, 60)


def test_runs_compose_as_one_ledger_would() -> None:
    """Five Gaussians of epsilon 2: less than the sum of 10, more than any of them."""
    one = _gaussian(2.0)
    assert composed([[one]], 1e-5) == pytest.approx(2.0, abs=1e-6)
    assert composed([[one]] * 5, 1e-5) == pytest.approx(5.0, abs=0.05)
    # In one round they would be one cohort; as runs they are not, whatever their rounds are called.
    assert composed([[one], [one]], 1e-5) == composed([[one, Spent.of(one, 7)]], 1e-5)


def test_what_has_no_common_accountant_adds_up() -> None:
    sampled = Spent(0, "PoissonSampledGaussian", 2.0, 0.3, 60)
    discrete = Spent(0, "DistributedDiscreteGaussian", 5.0, 1.0, 60, 0, 50, 240, 4096.0)
    apart = [composed([[entry]], 5e-6) for entry in (sampled, discrete)]
    assert composed([[sampled], [discrete]], 1e-5) == pytest.approx(sum(apart))


def test_every_private_run_is_charged(tmp_path: Path) -> None:
    for number in range(3):
        _start(tmp_path / f"run{number}", seed=number)
    _start(tmp_path / "simulated", **{"dp.noise": "simulation"})
    pf.train("planted:60", method="popularity", dp_epsilon=2.0, baselines=[])
    open_ = {k: v for k, v in FLAGS.items() if k != "dp.epsilon"}
    runs.start(resolve(None, open_), tmp_path / "open", lambda row: None)
    held = _budget()
    assert [run["claims"] for run in held["runs"]] == [True, True, True, False, True]
    assert all(run["finished"] for run in held["runs"])
    (total,) = held["totals"]
    assert total["runs"] == 4 and total["alone"] == pytest.approx(2.0, abs=1e-6)
    assert total["epsilon"] == pytest.approx(composed([[_gaussian(2.0)]] * 4, 1e-5), abs=1e-3)
    done = cli("budget", "planted:60")
    shown = " ".join(done.stdout.split())
    assert "4 private runs together: epsilon 4." in shown and "no claim" in shown


def test_a_run_beyond_the_accounts_budget_is_refused(tmp_path: Path) -> None:
    assert _budget("--dataset-budget", "3.5")["budget"] == 3.5
    _start(tmp_path / "one")
    _start(tmp_path / "two")
    with pytest.raises(UserError, match=r"3 private runs together: epsilon 3\.7") as caught:
        _start(tmp_path / "three")
    assert caught.value.code == PRIVACY_VIOLATION
    assert not (tmp_path / "three").exists() and len(_budget()["runs"]) == 2
    with pytest.raises(UserError, match="--dataset-budget"):
        pf.train("planted:60", method="popularity", dp_epsilon=2.0, baselines=[])
    _start(tmp_path / "simulated", **{"dp.noise": "simulation"})
    assert _start(tmp_path / "small", **{"dp.epsilon": 0.5})["privacy"]["epsilon"] <= 0.5
    assert _budget("--dataset-budget", "inf")["budget"] is None
    _start(tmp_path / "three")


def test_the_limit_may_be_set_with_the_run(tmp_path: Path) -> None:
    run = ("run", "--dataset", "planted:60", "--method", "popularity", "--dp-epsilon", "2", "--set",
           "baselines=[]", "--dataset-budget")
    assert cli(*run, "2.5", "--out", str(tmp_path / "one")).returncode == 0
    done = cli(*run, "2.5", "--out", str(tmp_path / "two"))
    assert done.returncode == 3 and "2.5 that planted may cost" in " ".join(done.stderr.split())
    done = cli(*run, "-1", "--out", str(tmp_path / "two"))
    assert done.returncode == 2 and "must be above 0" in done.stderr


def test_a_run_that_is_not_finished_is_charged_in_full(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def stop(row: dict[str, Any]) -> None:
        raise Killed

    flags = {"method": "gfmfr", "rounds": 3, "algorithm.opening.on": False}
    with pytest.raises(Killed):
        runs.start(resolve(None, {**FLAGS, **flags}), tmp_path / "run", stop)
    (run,) = _budget()["runs"]
    assert not run["finished"] and len(run["charges"]) == 3
    assert _budget()["totals"][0]["epsilon"] == pytest.approx(2.0, abs=1e-6)
    runs.resume(tmp_path / "run", lambda row: None)
    (run,) = _budget()["runs"]
    assert run["finished"] and _budget()["totals"][0]["epsilon"] == pytest.approx(2.0, abs=1e-6)


def test_units_are_told_apart() -> None:
    one = {"claims": True, "delta": 1e-5, "epsilon": 2.0, "charges": [vars(_gaussian(2.0))]}
    found = totals([{**one, "unit": "user"}, {**one, "unit": "interaction"},
                    {**one, "unit": "user", "claims": False}])
    assert [(t.unit, t.runs) for t in found] == [("interaction", 1), ("user", 1)]


def test_other_features_and_splits_open_no_other_account() -> None:
    data = load("planted:60", k_core=0, seed=0)
    other = drop_features(data, 0.3, 0)
    assert other.sha256 != data.sha256 and users_digest(other) == users_digest(data)
    assert users_digest(load("planted:61", k_core=0, seed=0)) != users_digest(data)


SWEEP = """
seeds = [0, 1]
epsilons = [1, 2]
[base]
baselines = []
dataset = "planted:60"
method = "popularity"
[[variants]]
label = "popularity"
"""


@pytest.mark.parametrize("noise", ["csprng", "simulation"])
def test_a_sweep_says_what_its_curve_costs(noise: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP.replace(
        "[[variants]]", f'dp.noise = "{noise}"\n[[variants]]'), "utf-8")
    done = cli("sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    whole = composed([[_gaussian(e)] for e in (1, 1, 2, 2)], 1e-5)
    assert f"4 private runs together: epsilon {whole:.4g}" in said
    assert ("protect nobody" in said) == (noise == "simulation")


def test_a_damaged_account_and_a_closed_folder_are_sentences(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account(load("planted:60", k_core=0, seed=0))
    account.limit(4.0)
    account.file.write_text("{", "utf-8")
    with pytest.raises(UserError, match="cannot be read"):
        _start(tmp_path / "run")
    (tmp_path / "file").write_text("", "utf-8")
    monkeypatch.setenv("PRIVFEDMM_STATE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set PRIVFEDMM_STATE"):
        _start(tmp_path / "other")
