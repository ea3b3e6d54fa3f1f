"""Weights of the parts of a score: the regression against autograd, and whole runs."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import privfedmm as pf
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.mixing.algorithm import CONTENT
from privfedmm.mixing.regression import moments, stepped
from privfedmm.runs import run as runs
from privfedmm.runs.run import load_data
from privfedmm.runs.session import Session

CLIENTS, ITEMS, PARTS = 6, 12, 3


def drawn(clients: int = CLIENTS, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Parts, the items that judge, and who may be recommended."""
    g = torch.Generator().manual_seed(seed)
    parts = torch.randn(clients, ITEMS, PARTS, generator=g)
    item = torch.randint(0, ITEMS, (clients,), generator=g)
    candidates = torch.rand(clients, ITEMS, generator=g) < 0.8
    candidates[torch.arange(clients), item] = True
    return parts, item, candidates


def loss(parts: Tensor, item: Tensor, candidates: Tensor, theta: Tensor) -> Tensor:
    chance = (parts @ theta).masked_fill(~candidates, -torch.inf).log_softmax(1)
    return chance[torch.arange(len(parts)), item].sum()


def test_moments_are_gradient_and_curvature() -> None:
    parts, item, candidates = drawn()
    theta = torch.tensor([0.5, -1.0, 2.0])
    total = moments(parts, item, candidates, theta).sum(0)

    def of(weights: Tensor) -> Tensor:
        return loss(parts, item, candidates, weights)

    gradient = torch.autograd.functional.jacobian(of, theta)
    hessian = -torch.autograd.functional.hessian(of, theta)
    torch.testing.assert_close(total[:PARTS], gradient, rtol=1e-4, atol=1e-4)
    row, column = torch.triu_indices(PARTS, PARTS)
    torch.testing.assert_close(total[PARTS:], hessian[row, column], rtol=1e-4, atol=1e-4)


def test_who_has_no_item_says_nothing() -> None:
    parts, item, candidates = drawn()
    item[2] = -1
    theta = torch.ones(PARTS)
    assert not moments(parts, item, candidates, theta)[2].any()


def test_steps_find_the_weights_that_made_the_data() -> None:
    """Of 4,000 users; the error of a weight is about .03."""
    truth = torch.tensor([1.5, 0.0, -0.7])
    parts, _, _ = drawn(4000, seed=1)
    g = torch.Generator().manual_seed(2)
    noise = -torch.empty(4000, ITEMS).exponential_(generator=g).log()
    item = (parts @ truth + noise).argmax(1)
    theta, start = torch.ones(PARTS), torch.ones(PARTS)
    everything = torch.ones(4000, ITEMS, dtype=torch.bool)
    for _ in range(6):
        total = moments(parts, item, everything, theta).sum(0)
        theta = stepped(theta, total, 0.0, start, 1e3)
    assert (theta - truth).abs().max() < 0.15


def test_noise_leaves_weights_where_they_were() -> None:
    parts, item, candidates = drawn(200, seed=2)
    start = torch.ones(PARTS)
    total = moments(parts, item, candidates, start).sum(0)
    moved = [float((stepped(start, total, noise, start, 0.5) - start).norm())
             for noise in (0.0, 10.0, 1e3, 1e6)]
    assert moved == sorted(moved, reverse=True) and moved[-1] < 1e-3 < moved[0]
    generator = torch.Generator().manual_seed(3)
    wild = stepped(start, total + 1e4 * torch.randn(len(total), generator=generator), 1e4, start,
                   0.5)
    assert torch.isfinite(wild).all() and (wild - start).norm() < 3


# Whole runs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [None, 8.0])
def test_a_mix_finds_that_planted_users_follow_content(epsilon: float | None) -> None:
    """There popularity misleads, and the items to come are told by content."""
    how: dict[str, Any] = {} if epsilon is None else {"dp_epsilon": epsilon, "noise": "simulation"}
    found = [pf.train("planted", method="group_statistics", seed=1, baselines=[],
                      settings={"mix.on": on}, **how) for on in (False, True)]
    plain, mixed = (run.metrics.xs("test", level="target")["ndcg@50"].iloc[0] for run in found)
    assert mixed > plain + 0.02
    if epsilon is not None:
        assert found[1].record["privacy"]["epsilon_spent"] == pytest.approx(epsilon, rel=1e-3)
        assert found[1].audit(parts=("budget",)).passed
        assert "for 10% of the whole budget" in found[1].record["privacy"]["settings_chosen"]
    weights = found[1].record["mix"]
    assert weights["popularity"] < 0.5 and weights[CONTENT] != 0
    assert found[0].record["mix"] is None


@pytest.mark.parametrize("settings", [
    {"method": "backbone"}, {"method": "local"},
    {"method": "gfmfr", "dp_epsilon": 2.0, "unit": "interaction"}])
def test_where_there_is_nothing_to_weigh_it_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"mix\.on"):
        pf.train("planted:60", settings={"mix.on": True}, baselines=[], rounds=2, **settings)


def test_weighed_parts_are_the_score() -> None:
    run = pf.train("planted:120", method="group_statistics", seed=1, baselines=[],
                   settings={"mix.on": True})
    table = run.recommend(user="u3", top=3, explain=True)
    assert CONTENT in table.columns
    parts = table.drop(columns=["item_id", "title", "score"]).sum(axis=1)
    assert parts.to_numpy() == pytest.approx(table["score"].to_numpy(), abs=1e-3)


# Around a run -------------------------------------------------------------------------------------


MASKED = {"dataset": "planted:60", "method": "gfmfr", "rounds": 12, "seed": 1, "baselines": [],
          "aggregation": "masked", "secure.mode": "ring", "evaluation.patience": 2}


def test_a_masked_run_that_ended_training_early_resumes_in_its_mix(tmp_path: Path) -> None:
    """Its ledger has the rounds that were played, under the numbers they were planned with."""
    def interrupt(row: dict[str, Any]) -> None:
        if row["round"] == whole["rounds_run"] - 1:
            raise KeyboardInterrupt

    config = resolve(None, MASKED)
    whole = runs.start(config, tmp_path / "whole", lambda row: None)
    assert whole["rounds_run"] < 2 + 12 + 2
    assert "2 rounds of the mix followed" in whole["stopped"]["why"]
    with pytest.raises(KeyboardInterrupt):
        runs.start(config, tmp_path / "cut", interrupt)
    record = runs.resume(tmp_path / "cut", lambda row: None)
    for name in ("metrics", "rounds_run", "best_round", "stopped", "mix"):
        assert record[name] == whole[name], name
    (tmp_path / "whole" / "record.json").unlink()
    again = runs.resume(tmp_path / "whole", lambda row: None)
    assert again["metrics"] == whole["metrics"]


def test_the_hash_of_a_plan_is_of_all_that_devices_compute_with() -> None:
    """Clients of masked sums hold it against a server that tells them different things."""
    session = Session.start(resolve(None, {**MASKED, "algorithm.opening.training_rounds": 1}),
                            load_data(resolve(None, MASKED)))
    state = replace(session.state, round=session.weighing)
    algorithm = session.algorithm
    told = algorithm.plan_hash(algorithm.plan(state))
    server = state.method
    tables = [f.name for f in fields(server) if isinstance(getattr(server, f.name), Tensor)]
    assert "average_tables" in tables
    for name in tables:
        moved = replace(server, **{name: getattr(server, name) + 1})
        other = algorithm.plan(replace(state, method=moved))
        assert algorithm.plan_hash(other) != told, name
    opened = replace(server.opened, counts=server.opened.counts + 1)
    other = algorithm.plan(replace(state, method=replace(server, opened=opened)))
    assert algorithm.plan_hash(other) != told
    size = algorithm.plan_bytes(algorithm.plan(state))
    assert size > server.average_tables.nbytes + server.items.nbytes


def test_a_lost_round_of_training_is_passed_over_and_one_of_the_opening_is_not() -> None:
    config = resolve(None, {**MASKED, "dp.epsilon": 8.0, "dp.noise": "simulation",
                            "evaluation.patience": 0, "algorithm.opening.training_rounds": 3})
    session = Session.start(config, load_data(config))
    opening = session.planned.rounds - 3 - 2
    assert not session.skip(), "popularity is released in one round alone"
    session.state = replace(session.state, round=opening)
    planned = session.planned.rounds
    assert session.skip() and session.planned.rounds == planned
    assert session.state.round == opening + 1


def test_a_deployments_mix_goes_on_from_what_its_devices_hold() -> None:
    config = resolve(None, {**MASKED, "aggregation": "plain"})
    session = Session.start(config, load_data(config), deployed=True)
    session.best_model = session.algorithm.to_saved(session.state, session.clients)
    last = replace(session.state, round=9,
                   method=replace(session.state.method, items=session.state.method.items + 1))
    session.state, session.best.waited, session.best.value = last, 2, 0.5
    assert session.best.stop and session.goes_on()
    assert session.state.round == session.weighing
    assert torch.equal(session.state.method.items, last.method.items)
