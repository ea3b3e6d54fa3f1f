"""What TensorBoard, MLflow and Weights & Biases are told of a run, by their own readers."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import privfedmm as pf
from experiments.cli.choices import LOGGERS
from privfedmm.config import resolve
from privfedmm.loggers import NAMES, Loggers
from tests.commands import cli

RUN = ("run", "--dataset", "planted:60", "--method", "backbone", "--rounds", "2", "--set",
       "baselines=[]")
PRIVATE = ("run", "--dataset", "planted:60", "--dp-epsilon", "2", "--noise", "simulation",
           "--method", "backbone", "--rounds", "2", "--set", "baselines=[]", "--set",
           "dp.subspace_rank=4", "--set", "dp.clipping=adaptive")
Found = Mapping[str, Mapping[int, float]]  # name -> step -> value


def _tensorboard(folder: Path) -> Found:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="the extra 'tensorboard' is not installed")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {name: {e.step: e.value for e in events.Scalars(name)}
            for name in events.Tags()["scalars"]}


def _mlflow(folder: Path) -> Found:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow = pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
        client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
        experiment = client.get_experiment_by_name("privfedmm")
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED" and run.data.params["rounds"] == "2"
        return {name.replace(" at ", "@"): {
            m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}
            for name in run.data.metrics}


def _wandb(folder: Path) -> Found:
    wandb = pytest.importorskip("wandb", reason="the extra 'wandb' is not installed")
    wandb.teardown()  # as at the end of a process: its service writes the file to its end
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    out: dict[str, dict[int, float]] = {}
    for data in _kept(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        values = {item.key or ".".join(item.nested_key): json.loads(item.value_json)
                  for item in record.history.item}
        for name, value in values.items():
            if not name.startswith("_"):
                out.setdefault(name, {})[int(values["_step"])] = value
    return out


def _kept(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """The messages of an offline file: a log of LevelDB's format behind a head of seven bytes."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        _, length, kind = struct.unpack("<IHB", data[place:place + 7])
        whole += data[place + 7:place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last of its parts
            yield whole
            whole = b""


READERS: Mapping[str, Callable[[Path], Found]] = {
    "tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}


def _there(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name, reason=f"the extra {name!r} is not installed")


def test_the_command_line_knows_every_logger() -> None:
    assert LOGGERS == NAMES and set(NAMES) == set(READERS)
    done = cli(*RUN, "--log", "neptune")
    assert done.returncode == 2 and "'tensorboard', 'mlflow', 'wandb'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_is_told_every_round_and_the_result(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _there(name)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    out = tmp_path / "run"
    done = cli(*RUN, "--log", name, "--out", str(out))
    assert done.returncode == 0 and "failed" not in done.stderr, done.stderr
    found = READERS[name](out)
    rows = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    for row in rows:
        assert found["simulation_loss"][row["round"]] == pytest.approx(row["simulation_loss"])
        assert found["validation/ndcg@50"][row["round"]] == pytest.approx(
            row["validation"]["ndcg@50"])
    record = json.loads((out / "record.json").read_text())
    assert found["test/ndcg@10"][2] == pytest.approx(record["metrics"]["test"]["ndcg@10"])


@pytest.mark.parametrize("name", NAMES)
def test_under_a_budget_what_may_leave_is_what_the_claim_covers(
    name: str, tmp_path: Path
) -> None:
    _there(name)
    out = tmp_path / "run"
    done = cli(*PRIVATE, "--log", name, "--out", str(out))
    assert done.returncode == 0 and "failed" not in done.stderr, done.stderr
    found, said = READERS[name](out), " ".join(done.stderr.split())
    spent = json.loads((out / "record.json").read_text())["privacy"]["epsilon_spent"]
    assert found["epsilon_spent"][2] == pytest.approx(spent) and set(found["clip_norm"]) == {1, 2}
    if name == "tensorboard":  # it stays in the run folder, which holds the same already
        assert "validation/ndcg@50" in found
    else:
        assert set(found) == {"clip_norm", "epsilon_spent"}
        assert "told what the claim covers and nothing else" in said


def test_values_of_users_are_never_told(tmp_path: Path) -> None:
    """Whatever a row may come to hold: numbers go out, no lists and no tables."""
    _there("tensorboard")
    loggers = Loggers(["tensorboard"], resolve(None, {}), tmp_path, pytest.fail)
    loggers({"round": 1, "simulation_loss": 0.5, "ranks": [3, 1], "users": {"u1": 2.0},
             "validation": {"hr@10": 0.25, "per_user": [1.0]}})
    loggers.close()
    assert set(_tensorboard(tmp_path)) == {"simulation_loss", "validation/hr@10"}


def test_one_that_fails_does_not_end_the_run(tmp_path: Path) -> None:
    _there("mlflow")
    said: list[str] = []
    (tmp_path / "mlflow.db").write_text("no database")
    loggers = Loggers(["mlflow"], resolve(None, {}), tmp_path, said.append)
    loggers({"round": 1, "simulation_loss": 0.5})
    loggers({"round": 2, "simulation_loss": 0.5})
    loggers.close()
    assert len(said) == 1 and said[0].startswith("--log mlflow: it failed (")
    assert "the run goes on" in said[0]


def test_python_has_them_too(tmp_path: Path) -> None:
    _there("tensorboard")
    made: dict[str, Any] = {
        "method": "backbone", "rounds": 1, "baselines": [], "log": ["tensorboard"]}
    seen: list[dict[str, Any]] = []
    run = pf.train("planted:60", out=tmp_path / "run", callbacks=[seen.append], **made)
    found = _tensorboard(tmp_path / "run")
    assert len(seen) == 1 and found["test/hr@10"][1] == pytest.approx(
        run.record["metrics"]["test"]["hr@10"])
    with pytest.raises(pf.UserError, match="give out=FOLDER"):
        pf.train("planted:60", **made)
    with pytest.raises(pf.UserError, match="there are tensorboard, mlflow, wandb"):
        pf.train("planted:60", out=tmp_path / "other", **{**made, "log": ["neptune"]})
