"""A run whose nodes brought their own rows and keys is the simulator's over all rows together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import torch

from experiments.cli.deploy_parties import invite_all, join_one
from experiments.deployment import app
from experiments.deployment.directory import accept, settle
from experiments.deployment.parties import Party
from experiments.deployment.serving import result
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.runs import run as runs
from privfedmm.runs.record import SIMULATOR
from privfedmm.runs.session import Session

ITEMS, EACH = 40, 8
SIZES = (8, 7, 9)
FLAGS: dict[str, Any] = {
    "method": "gfmfr", "algorithm.opening.on": False, "rounds": 2, "k_core": 0, "seed": 4,
    "aggregation": "masked",
    "secure.dropout": 0.4, "secure.server": "semi_honest", "baselines": ["popularity"],
    # Asked for: an operator who has no rows does not know whether they have times.
    "algorithm.associations.weight": 1.5}


class Looped(Protocol):
    """The loop of conftest.py."""

    experiment: bool


LoopOf = Callable[[list[Path]], Any]


def write(folder: Path, users: range, items: bool) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(21)
    lines = [f"u{user:02},i{item:02},{time}\n" for user in range(sum(SIZES))
             for time, item in enumerate(rng.choice(ITEMS, EACH, replace=False)) if user in users]
    if lines:
        (folder / "interactions.csv").write_text(
            "user_id,item_id,timestamp\n" + "".join(lines))
    if items:
        (folder / "items.csv").write_text(
            "item_id\n" + "".join(f"i{n:02}\n" for n in range(ITEMS)))
        matrix = np.random.default_rng(22).normal(size=(ITEMS, 6)).astype(np.float32)
        np.save(folder / "smell_feat.npy", matrix)
        np.save(folder / "smell_mask.npy", np.arange(ITEMS) % 9 != 4)
    return folder


@pytest.fixture
def parties(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[Path]]:
    """The operator's run folder and the accepted folders of three nodes; a parameter: settings."""
    out = tmp_path / "run"
    source = write(tmp_path / "catalogue", range(0), items=True)
    flags = {**FLAGS, **getattr(request, "param", {}), "dataset": str(source)}
    said: list[str] = []
    invite_all(None, flags, "8,7,9", None, "localhost", out, said.append, said.append)
    assert any("no differential privacy" in line for line in said)
    folders, answers, first = [], [], 0
    for number, size in enumerate(SIZES):
        own = write(tmp_path / f"rows{number}", range(first, first + size), items=False)
        folders.append(tmp_path / f"shard-{number}")
        join_one(out / "deploy" / "invitation.bin", number, False, own, folders[-1], said.append)
        answers.append(tmp_path / f"shard-{number}.answer")
        first += size
    heard = settle(out / "deploy", answers)
    for folder in folders:
        accept(out / "deploy" / "known.bin", folder, heard)
    return out, folders


def both_ways(
    parties: tuple[Path, list[Path]], loop_of: LoopOf, file: Path | None, flags: dict[str, Any],
    tmp_path: Path,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The record of the simulator over all rows together, and what is saved of its model and of the
    one that the parties trained."""
    out, folders = parties
    app.play(loop_of(folders), out, out / "deploy")
    whole = write(tmp_path / "whole", range(sum(SIZES)), items=True)
    record = runs.start(resolve(file, {**flags, "dataset": str(whole)}), tmp_path / "simulated",
                        lambda row: None)
    ours, theirs = (torch.load(f / "checkpoint.pt", weights_only=True)["model"]
                    for f in (tmp_path / "simulated", out))
    return record, ours, theirs


def test_rows_that_never_met_train_the_simulators_model(
    parties: tuple[Path, list[Path]], loop_of: LoopOf, tmp_path: Path
) -> None:
    out, _ = parties
    record, ours, theirs = both_ways(parties, loop_of, None, FLAGS, tmp_path)
    ours, theirs = ours["state"], theirs["state"]
    torch.testing.assert_close(theirs["items"], ours["items"], rtol=0, atol=1e-5)
    torch.testing.assert_close(
        theirs["associations"], ours["associations"], rtol=0, atol=1e-5)
    found = result(out)
    assert found["metrics"] == record["metrics"]
    assert found["rounds"] == 2 and found["stayed_out"] == []


@pytest.mark.parametrize("parties", [{
    "algorithm.opening.on": True, "algorithm.associations.weight": 0.0,
    "algorithm.opening.association_rank": 4, "mix.on": True}], indirect=True)
def test_rows_that_never_met_open_and_weigh_as_the_simulator_does(
    parties: tuple[Path, list[Path]], loop_of: LoopOf, tmp_path: Path
) -> None:
    """Tastes, recency and the item that judges are there on the device alone."""
    out, _ = parties
    record, ours, theirs = both_ways(parties, loop_of, out / "config.toml", {}, tmp_path)
    found = result(out)
    assert found["metrics"] == record["metrics"]
    assert found["rounds"] == 2 + 2 + 2
    torch.testing.assert_close(theirs["mix"]["weights"], ours["mix"]["weights"], rtol=0, atol=1e-4)
    assert not torch.equal(ours["mix"]["weights"], torch.ones_like(ours["mix"]["weights"]))


def test_a_run_is_over_where_no_node_tells_how_well_it_is_served(
    parties: tuple[Path, list[Path]], loop_of: LoopOf
) -> None:
    out, folders = parties
    loop = loop_of(folders)
    loop.experiment = False
    app.play(loop, out, out / "deploy")
    found = result(out)
    assert found["metrics"] is None and found["rounds"] == 2
    lines = (out / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and not any("validation" in json.loads(line) for line in lines)
    config = resolve(out / "config.toml", {})
    session = Session.start(config, Party.read(out / "deploy" / "server").data, out)
    assert session.state.round == 0
    session.restore(out, Party.read(out / "deploy" / "server").data.sha256)
    assert session.state.round == 2
    with pytest.raises(UserError, match="no node reported ranks"):
        runs.conclude(session, Party.read(out / "deploy" / "server").data, out,
                      SIMULATOR)
