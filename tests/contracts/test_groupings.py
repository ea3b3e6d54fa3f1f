"""Every grouping there is, the example package's and one of the tests' own, under the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from privfedmm_example.cross_polytope import CROSS_POLYTOPE, CrossPolytope

import privfedmm as pf
from privfedmm.groupings import GROUPINGS, GroupingEntry, GroupingTerms
from privfedmm.groupings.centroids import Centroids
from privfedmm.groupings.reference import align
from privfedmm.testing.groupings import GroupingContract


class ByFirst:
    """Clusters by the rank of one parameter alone; needs every client's network, like reference."""

    def __init__(self, terms: GroupingTerms) -> None:
        self._groups = terms.settings.groups

    def labels(self, vectors: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
        rank = vectors[:, 0].argsort(kind="stable").argsort(kind="stable")
        found = np.asarray(rank * self._groups // len(vectors))
        return found if previous is None else align(previous, found)


BY_FIRST = GroupingEntry(name="by_first", summary="by one parameter", picked_by="server",
                         build=ByFirst)


class TestNone(GroupingContract):
    entry = GROUPINGS.get("none")


class TestPrivate(GroupingContract):
    entry = GROUPINGS.get("private")


class TestReference(GroupingContract):
    entry = GROUPINGS.get("reference")


class TestCrossPolytope(GroupingContract):
    entry = CROSS_POLYTOPE


class TestByFirst(GroupingContract):
    entry = BY_FIRST


def test_every_built_in_one_is_under_the_contract() -> None:
    tested = {kind.entry.name for kind in GroupingContract.__subclasses__()}
    assert tested >= {n for n in GROUPINGS.names() if GROUPINGS.source(n) == "privfedmm"}


@pytest.fixture
def registered() -> Iterator[None]:
    GROUPINGS.register(CROSS_POLYTOPE)
    GROUPINGS.register(BY_FIRST)
    yield
    GROUPINGS.forget("cross_polytope")
    GROUPINGS.forget("by_first")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("flags", [
    {}, {"aggregation": "masked"}, {"dp_epsilon": 8.0, "noise": "simulation"}],
    ids=["plain", "masked", "private"])
def test_a_foreign_one_groups_users_of_gfmfr(flags: dict[str, object]) -> None:
    settings = {"algorithm.groups.start_round": 0, "algorithm.groups.grouping": "cross_polytope",
                **({"algorithm.opening.training_rounds": 1} if "dp_epsilon" in flags else {})}
    run = pf.train("planted:60", method="gfmfr", rounds=2, baselines=[], settings=settings,
                   **flags)  # type: ignore[arg-type]
    assert run.record["parts"]["grouping"] == run.record["groups"]["grouping"] == "cross_polytope"
    assert sum(run.record["groups"]["sizes"]) == 60
    assert run.metrics["ndcg@50"].notna().all()
    assert "group_count" in str(run.record["privacy"]["releases"])


@pytest.mark.usefixtures("registered")
def test_one_that_the_server_picks_runs_in_the_clear_alone() -> None:
    settings = {"algorithm.groups.grouping": "by_first", "algorithm.fusion.epochs": 2}
    run = pf.train("planted:60", mode="reference", rounds=2, baselines=[], settings=settings)
    assert run.record["groups"]["grouping"] == "by_first"
    assert run.record["groups"]["sizes"] == [12] * 5
    assert "reads every client's own item_update" in run.record["privacy"]["reason"]
    with pytest.raises(pf.UserError, match=r"groups\.grouping: 'by_first' clusters the clients'"):
        pf.train("planted:60", method="gfmfr", rounds=1, baselines=[], settings={
            "algorithm.groups.grouping": "by_first"})
    for flags in ({"aggregation": "masked"}, {"dp_epsilon": 2.0}):
        with pytest.raises(pf.UserError):
            pf.train("planted:60", mode="reference", rounds=1, baselines=[], settings=settings,
                     **flags)


def test_an_unknown_one_is_refused_with_those_there_are() -> None:
    with pytest.raises(pf.UserError, match=r"groups\.grouping: .* there are private, reference"):
        pf.train("planted:60", settings={"algorithm.groups.grouping": "by_age"})


class Larger(Centroids):
    """A class of their own, which no message and no checkpoint would bring back."""


def _nan(centroids: Centroids) -> Centroids:
    return replace(centroids, centres=centroids.centres * torch.nan)


WRONG: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "one group for all": ("pick", lambda group: group[:1]),
    "too large": ("pick", lambda group: group + 5),
    "negative": ("pick", lambda group: group - 1),
    "of another kind": ("pick", lambda group: group.int()),
    "no tensor": ("pick", lambda group: group.tolist()),
    "not a number": ("start", _nan),
    "too few": ("start", lambda c: replace(c, centres=c.centres[1:])),
    "double": ("start", lambda c: replace(c, centres=c.centres.double())),
    "a class of its own": ("start", lambda c: Larger(c.centres, c.mean)),
    "a mean of another length": ("move", lambda c: replace(c, mean=c.mean[1:])),
    "nothing": ("move", lambda c: None),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_of_a_client_picked_one_is_refused(wrong: str) -> None:
    method, spoilt = WRONG[wrong]
    right = CrossPolytope

    class Broken(right):  # type: ignore[misc, valid-type]
        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            return (lambda *given: spoilt(found(*given))) if name == method else found

    GROUPINGS.register(GroupingEntry(
        name="broken", summary="wrong", picked_by="client", build=Broken))
    try:
        with pytest.raises(pf.UserError, match=rf"groups\.grouping: {method} of .*'broken'"):
            pf.train("planted:60", method="gfmfr", rounds=1, baselines=[],
                     settings={"algorithm.groups.grouping": "broken"})
    finally:
        GROUPINGS.forget("broken")


@pytest.mark.parametrize("spoilt", [
    lambda found: found + 9, lambda found: found - 1, lambda found: found / 2,
    lambda found: found[1:], lambda found: found.tolist()])
def test_a_wrong_answer_of_a_server_picked_one_is_refused(
    spoilt: Callable[[np.ndarray], Any]
) -> None:
    class Broken(ByFirst):
        def labels(self, vectors: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
            return spoilt(super().labels(vectors, previous))

    GROUPINGS.register(GroupingEntry(
        name="broken", summary="wrong", picked_by="server", build=Broken))
    try:
        with pytest.raises(pf.UserError, match=r"groups\.grouping: labels of .*'broken'"):
            pf.train("planted:60", mode="reference", rounds=1, baselines=[], settings={
                "algorithm.groups.grouping": "broken", "algorithm.fusion.epochs": 1})
    finally:
        GROUPINGS.forget("broken")


def test_an_entry_says_who_picks() -> None:
    with pytest.raises(ValueError, match="picked_by must be one of nobody, client, server"):
        GroupingEntry(name="odd", summary="odd", picked_by="clients",  # type: ignore[arg-type]
                      build=CrossPolytope)
