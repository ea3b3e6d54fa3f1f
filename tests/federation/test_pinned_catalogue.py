"""Nodes take their items from the catalogue of the invitation, whatever rows they have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.deployment.invitation import Invitation, invite
from experiments.deployment.joining import join, read_answer
from experiments.deployment.sources import offered, rows_for
from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig, resolve
from privfedmm.data import Shard
from tests.public_parts import told

ITEMS, USERS = 12, (3, 2)


def config_of(folder: Path, **flags: object) -> RunConfig:
    return resolve(None, {
        "dataset": str(folder), "method": "group_statistics", "k_core": 0, "dp.epsilon": 4.0,
        "statistics.groups": 2, "statistics.association_rank": 4, **flags})


def catalogue(folder: Path, items: int = ITEMS) -> Path:
    folder.mkdir()
    (folder / "items.csv").write_text("item_id\n" + "".join(f"i{n}\n" for n in range(items)))
    np.save(folder / "smell_feat.npy", np.random.default_rng(3).normal(size=(items, 5)))
    return folder


def rows(folder: Path, lines: str) -> Path:
    folder.mkdir()
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + lines)
    return folder


def many(users: str) -> str:
    return "".join(f"{u},i{(n + k) % ITEMS},{k}\n" for n, u in enumerate(users) for k in range(5))


def invited(folder: Path, root: Path, **flags: object) -> Invitation:
    config, offer, users = offered(
        config_of(folder, **flags), USERS, None, lambda text: None)
    return invite(config, offer, users, "localhost:0", root)


@pytest.fixture
def invitation(tmp_path: Path) -> Invitation:
    return invited(catalogue(tmp_path / "items"), tmp_path / "deploy")


def test_rows_change_nothing_that_parties_share(invitation: Invitation, tmp_path: Path) -> None:
    server = invitation.holding(0, Shard()).data
    shared = told(invitation.config, server)
    assert server.public_items and shared["items"] == invitation.catalogue.items.tolist()
    # One node has rows of few items, and a user with a single row; one has rows of other items.
    few = rows_for(invitation, "shard-0", rows(tmp_path / "few", many("ab") + "c,i3,1\n"))
    more = rows_for(invitation, "shard-0", rows(tmp_path / "more", many("abc")))
    assert few.train.counts.tolist() == [3, 3, 1] and few.test.tolist()[2] == -1
    for part in (few, more):
        data = invitation.holding(0, part).data
        found = told(invitation.config, data)
        assert found == shared
        np.testing.assert_array_equal(data.features["smell"], server.features["smell"])
    for holding in (few, more):
        assert (holding.train.indices < ITEMS).all()


def test_rows_of_other_items_stay_out(invitation: Invitation, tmp_path: Path) -> None:
    other = rows(tmp_path / "other", many("abc") + "a,i99,7\n")
    with pytest.raises(UserError, match="item i99 is none of the 12 items of the run"):
        rows_for(invitation, "shard-0", other)


def test_an_invitation_to_other_items_is_another_run(
    invitation: Invitation, tmp_path: Path
) -> None:
    other = invited(catalogue(tmp_path / "more", ITEMS + 1), tmp_path / "elsewhere")
    assert other.digest != invitation.digest
    part = rows_for(invitation, "shard-1", rows(tmp_path / "own", many("de")))
    answer = tmp_path / "shard-1.answer"
    answer.write_bytes(join(invitation, "shard-1", part, tmp_path / "shard-1"))
    read_answer(answer, invitation)
    swapped = replace(other, run=invitation.run, config=invitation.config)
    with pytest.raises(UserError, match="answers another invitation"):
        read_answer(answer, swapped)


def test_items_of_a_run_on_nodes_come_from_no_rows(tmp_path: Path) -> None:
    folder = catalogue(tmp_path / "items")
    with pytest.raises(UserError, match=r"dp\.catalogue: only the nodes have rows"):
        invited(folder, tmp_path / "deploy", **{"dp.catalogue": "from_interactions"})


def test_without_a_budget_a_user_with_few_rows_is_still_told(tmp_path: Path) -> None:
    config = resolve(None, {"dataset": str(catalogue(tmp_path / "items")), "k_core": 0})
    offer, items, users = offered(config, USERS, None, lambda text: None)
    plain = invite(offer, items, users, "localhost:0", tmp_path / "deploy")
    with pytest.raises(UserError, match="user c has 1 interactions and needs 3"):
        rows_for(plain, "shard-0", rows(tmp_path / "few", many("ab") + "c,i3,1\n"))
