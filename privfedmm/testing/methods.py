"""The contract of a method: subclass it in your tests and name your registered method."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from privacy import Role
from privfedmm.assemble import kinds_of
from privfedmm.base.arrays import load_arrays, save_arrays
from privfedmm.base.files import load_tensors, save_tensors
from privfedmm.config import RunConfig, resolve
from privfedmm.config.explain import settings_of
from privfedmm.data import Dataset
from privfedmm.federation import Saved, Simulator, run_round
from privfedmm.federation.codec import decode, encode
from privfedmm.front.training import train
from privfedmm.methods import METHODS
from privfedmm.runs.run import load_data
from privfedmm.runs.session import Session

ROUNDS = 2
_BUDGET = 8.0
_MORE = 67  # users of a second data set, of which nothing released may grow


class MethodContract:
    """Checks what every method must do.

    Set `method` in a subclass whose name begins with Test:

        class TestMine(MethodContract):
            method = "mine"

    settings: other settings, by dotted path. The method is played on 60 generated users with text
    and pictures. tolerance: the largest difference between a client alone and in a block, relative
    to the largest value of its upload; kernels may round otherwise in blocks of other sizes.
    """

    method: ClassVar[str]
    settings: ClassVar[Mapping[str, Any]] = {}
    dataset: ClassVar[str] = "planted:60"
    tolerance: ClassVar[float] = 1e-5

    def config(self, **flags: Any) -> RunConfig:
        """Return the config of the run that the contract plays: few rounds, no baselines."""
        return resolve(None, {"dataset": self.dataset, "method": self.method, "baselines": [],
                              **self._rounds(), **self.settings, **flags})

    def session(self, **flags: Any) -> Session:
        """Return a run before its first round."""
        config = self.config(**flags)
        return Session.start(config, _data(config.dataset))

    def test_it_says_what_it_is_and_can(self) -> None:
        """Check that the method has a summary, and that its releases bear out its capabilities.

        Both are in lists.
        """
        entry = METHODS.get(self.method)
        assert entry.summary.strip()
        releases = self.session().algorithm.releases
        assert bool(releases) == entry.can.federated
        assert len({r.name for r in releases}) == len(releases)

    def test_its_settings_say_what_they_mean(self) -> None:
        """Check that each setting has a sentence, and each number a range, as lists show them.

        What is beyond its range is then refused with its name, before anything is trained.
        """
        for setting in settings_of(METHODS.get(self.method).settings):
            assert setting.meaning.strip(), f"{setting.path} has no description"
            if setting.type.partition(" or ")[0] in ("number", "whole number"):
                assert setting.range, f"{setting.path} has no bound: Field(ge=..., le=...)"

    def test_uploads_are_what_is_declared_in_every_round(self) -> None:
        """Check that uploads are the declared ones in every round.

        The gate refuses an upload that was not declared, and misses none that was.
        """
        session = self.session()
        for round_ in range(session.planned.rounds):
            assert session.state.round == round_
            session.state, report = _played(session, round_)
            assert np.isfinite(report.costs.simulation_loss)
            if session.algorithm.releases:
                assert report.costs.bytes_up_per_client > 0

    def test_a_client_alone_uploads_what_it_does_in_a_block(self) -> None:
        """Check that nothing of a client depends on who trains beside it."""
        session = self.session()
        algorithm, plan = session.algorithm, session.algorithm.plan(session.state)
        ids = next(iter(algorithm.blocks(np.arange(session.population))))[:4]
        block, _ = algorithm.local(plan, ids, deepcopy(session.clients))
        for place, client in enumerate(ids.tolist()):
            alone, _ = algorithm.local(plan, np.array([client]), deepcopy(session.clients))
            assert alone.keys() == block.keys()
            for name, part in alone.items():
                mine, other = part.dense()[0], block[name].dense()[place]
                scale = max(float(other.abs().max()), 1.0)
                assert float((mine - other).abs().max()) <= self.tolerance * scale, name

    def test_blocks_hold_every_client_once(self) -> None:
        """Check that each client of a cohort trains once, whatever the order."""
        session = self.session()
        ids = np.arange(0, session.population, 2)
        found = np.concatenate(list(session.algorithm.blocks(ids)))
        assert np.array_equal(np.sort(found), ids)

    def test_two_who_were_told_the_same_find_the_same_digest(self) -> None:
        """Check that equal plans have the same digest, and that it changes with the state."""
        session = self.session()
        algorithm, before = session.algorithm, session.state
        plan = algorithm.plan(before)
        assert algorithm.plan_hash(plan) == algorithm.plan_hash(deepcopy(plan))
        after, _ = _played(session, 0)
        assert algorithm.plan_hash(algorithm.plan(after)) != algorithm.plan_hash(plan)
        assert algorithm.plan_bytes(plan) > 0

    def test_a_restored_run_goes_on_as_if_nothing_had_happened(self) -> None:
        """Check that a checkpoint holds all that a later round needs."""
        one, other = self.session(), self.session()
        one.state, _ = _played(one, 0)
        saved = deepcopy(one.algorithm.to_saved(one.state, one.clients))
        other.state, other.clients = other.algorithm.from_saved(saved)
        if one.planned.rounds > 1:
            one.state, _ = _played(one, 1)
            other.state, _ = _played(other, 1)
        ids = np.arange(one.population)
        torch.testing.assert_close(
            other.algorithm.scores(other.state, other.clients, ids),
            one.algorithm.scores(one.state, one.clients, ids), rtol=0, atol=0)

    def test_what_is_released_follows_from_releases_alone(self, tmp_path: Path) -> None:
        """Check that the released half of a model may be given away.

        It is the same whatever the devices hold, and none of its tensors grows with the number of
        users. Both halves can be written, and together they restore the run.
        """
        session, other = self.session(), self.session(dataset=f"planted:{_MORE}")
        for one in (session, other):
            one.state, _ = _played(one, 0)
        algorithm, ids = session.algorithm, np.arange(session.population)
        saved = deepcopy(algorithm.to_saved(session.state, session.clients))
        untrained = algorithm.to_saved(session.state, algorithm.initial_clients())
        _same(untrained.released, saved.released)
        bigger = other.algorithm.to_saved(other.state, other.clients)
        assert _shapes(bigger.released) == _shapes(saved.released)
        save_arrays(tmp_path / "released.npz", saved.released)
        save_tensors(tmp_path / "devices.pt", saved.devices)
        again = self.session()
        state, clients = again.algorithm.from_saved(Saved(
            load_arrays(tmp_path / "released.npz"), load_tensors(tmp_path / "devices.pt")))
        torch.testing.assert_close(
            again.algorithm.scores(state, clients, ids),
            algorithm.scores(session.state, session.clients, ids), rtol=0, atol=0)

    def test_a_device_comes_in_with_the_released_half_alone(self) -> None:
        """Check that `adopt` makes new devices fit to score, and changes nothing else."""
        session = self.session()
        for round_ in range(session.planned.rounds):
            session.state, _ = _played(session, round_)
        algorithm, ids = session.algorithm, np.array([3, 0, 17])
        saved = deepcopy(algorithm.to_saved(session.state, session.clients))
        new = algorithm.to_saved(algorithm.initial_state(), algorithm.initial_clients())
        state, clients = algorithm.from_saved(Saved(saved.released, deepcopy(new.devices)))
        others = np.setdiff1d(np.arange(session.population), ids)
        before = deepcopy(clients)
        algorithm.adopt(state, clients, ids)
        assert bool(torch.isfinite(algorithm.scores(state, clients, ids)).all())
        # Scoring may fit what a device keeps, so both are asked for the same.
        torch.testing.assert_close(algorithm.scores(state, clients, others),
                                   algorithm.scores(state, before, others), rtol=0, atol=0)
        _same(algorithm.to_saved(state, clients).released, saved.released)

    def test_scores_are_finite_and_their_parts_add_up(self) -> None:
        """Check that scores [m, items] are finite and that the parts of `explain` add up to them,
        after every round, under the same names.
        """
        session = self.session()
        ids, names = np.array([3, 0, 17]), set()
        items = _data(session.config.dataset).num_items
        for round_ in range(session.planned.rounds):
            session.state, _ = _played(session, round_)
            scores = session.algorithm.scores(session.state, session.clients, ids)
            assert scores.shape == (3, items) and bool(torch.isfinite(scores).all())
            parts = session.algorithm.explain(session.state, session.clients, ids)
            total = torch.stack([p.expand(3, items) for p in parts.values()]).sum(0)
            torch.testing.assert_close(total, scores, rtol=1e-3, atol=1e-3)
            names.add(tuple(parts))
        assert len(names) == 1

    def test_a_user_without_rows_changes_no_table(self) -> None:
        """Check that a user of whom nothing is left to train on takes part, and teaches nothing.

        Such a user is counted: who is there must not follow from who has rows.
        """
        protections: list[dict[str, Any]] = [{}]
        if METHODS.get(self.method).can.interaction_unit and self.config().mode == "default":
            protections.append({"dp.epsilon": _BUDGET, "dp.unit": "interaction",
                                "dp.noise": "simulation", "dp.trust": "local"})
        for flags in protections:
            config = self.config(**flags)
            session = Session.start(config, _without_rows(_data(config.dataset), 3))
            algorithm, plan = session.algorithm, session.algorithm.plan(session.state)
            uploads, loss = algorithm.local(plan, np.array([3]), deepcopy(session.clients))
            assert bool(torch.isfinite(loss).all())
            roles = {release.name: release.role for release in algorithm.releases}
            for name, part in uploads.items():
                value = part.dense()
                assert bool(torch.isfinite(value).all()), name
                if roles[name] in (Role.ITEM_TABLE, Role.ITEM_COUNTS) and not flags:
                    assert not value.any(), name
            for round_ in range(session.planned.rounds):
                session.state, _ = _played(session, round_)
            ids = np.arange(session.population)
            scores = algorithm.scores(session.state, session.clients, ids)
            assert bool(torch.isfinite(scores).all())

    def test_plan_state_and_clients_travel(self) -> None:
        """Check that what a deployment sends comes out as it went in."""
        entry = METHODS.get(self.method)
        if not entry.can.deployed:
            return
        session = self.session()
        kinds = kinds_of(session.config)
        session.state, _ = _played(session, 0)
        for value in (session.algorithm.plan(session.state), session.state, session.clients):
            body = encode(value)
            assert encode(decode(body, kinds)) == body

    def test_it_runs_under_every_protection_it_claims(self) -> None:
        """Check that the method runs under every protection that it claims.

        Sums are masked wherever something is sent and summed; there is a budget where a user can be
        protected, and never more is spent than that.
        """
        entry = METHODS.get(self.method)
        if not entry.can.federated:
            return
        flags: dict[str, Any] = {"method": self.method, "baselines": [], **self._rounds()}
        masked = train(self.dataset, aggregation="masked", settings=self.settings, **flags)
        assert masked.epsilon is None
        if entry.can.user_unit:
            run = train(self.dataset, dp_epsilon=_BUDGET, noise="simulation",
                        settings=self.settings, **flags)
            assert run.epsilon is not None and 0 < run.epsilon <= _BUDGET * (1 + 1e-6)

    def test_the_seed_decides_everything(self) -> None:
        """Check that two runs of one seed are equal to the last bit.

        Another seed gives another run.
        """
        def scores(seed: int) -> torch.Tensor:
            session = self.session(seed=seed)
            session.state, _ = _played(session, 0)
            ids = np.arange(session.population)
            return session.algorithm.scores(session.state, session.clients, ids)

        first = scores(3)
        assert torch.equal(first, scores(3))
        if self._free():
            assert not torch.equal(first, scores(4))

    def _free(self) -> bool:
        """Whether the number of rounds is the config's to set, not the method's."""
        config = resolve(None, {"dataset": self.dataset, "method": self.method, "rounds": 9,
                                **self.settings})
        return Session.start(config, _data(config.dataset)).planned.rounds == 9

    def _rounds(self) -> dict[str, int]:
        return {"rounds": ROUNDS} if self._free() else {}


def _played(session: Session, round_: int) -> Any:
    return run_round(session.algorithm, Simulator(), session.stack, session.state,
                     session.clients, session.population, round_)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        out |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {
            prefix + name: value}
    return out


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    ours, theirs = _flat(one), _flat(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        same = torch.equal(value, theirs[name]) if torch.is_tensor(value) else (
            value == theirs[name])
        assert same, name


def _shapes(values: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(x.shape) for name, x in _flat(values).items() if torch.is_tensor(x)}


def _without_rows(data: Dataset, user: int) -> Dataset:
    start, stop = data.train.indptr[user : user + 2]
    indptr = data.train.indptr.copy()
    indptr[user + 1 :] -= stop - start
    rows = replace(data.train, indptr=indptr,
                   indices=np.delete(data.train.indices, np.arange(start, stop)))
    age = None if data.train_age is None else np.delete(
        data.train_age, np.arange(start, stop))
    return replace(data, train=rows, train_age=age)


@cache
def _data(dataset: str) -> Dataset:
    return load_data(resolve(None, {"dataset": dataset}))

