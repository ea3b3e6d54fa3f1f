"""Nothing beside the gate depends on anybody's rows: items, features, shapes, and what clients are
told are the same with a user's rows and without, where items come from a public catalogue.

Where they come from the rows themselves, the same comparison finds who left.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import privfedmm as pf
from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig, resolve, resolve_saved, to_toml
from privfedmm.data import DataError, Dataset, Unit, load
from privfedmm.data.over_catalogue import prepare_over_catalogue
from privfedmm.data.raw import Raw
from privfedmm.evaluation import cut_of, to_arrays
from privfedmm.runs.record import SameData
from privfedmm.runs.run import load_data
from privfedmm.runs.session import Session
from tests.public_parts import told

METHODS: dict[str, dict[str, Any]] = {
    "group_statistics": {"statistics.groups": 5, "statistics.association_rank": 8},
    "gfmfr": {},
}
CHAIN = 200
BLOCK = 12


def as_folder(data: Dataset, folder: Path, timed: bool = True) -> pd.DataFrame:
    """Write a data set's catalogue and users into a folder, and return its rows, not written yet.

    Everybody's held-out items come last.
    """
    folder.mkdir()
    data.items.to_csv(folder / "items.csv", index=False)
    for name, matrix in data.features.items():
        np.save(folder / f"{name}_feat.npy", matrix)
    pd.DataFrame({"user_id": data.user_ids}).to_csv(folder / "users.csv", index=False)
    rows = []
    for user in range(data.num_users):
        mine = [*data.train.row(user), data.validation[user], data.test[user]]
        rows += [(data.user_ids[user], data.item_ids[i], t) for t, i in enumerate(mine) if i >= 0]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return table if timed else table.drop(columns="timestamp")


def written(folder: Path, rows: pd.DataFrame, leave: str = "") -> Path:
    """The folder with all rows but those of the user `leave`."""
    rows[rows["user_id"] != leave].to_csv(folder / "interactions.csv", index=False)
    return folder


def config_of(
    folder: Path, catalogue: str, method: str = "group_statistics", core: int = 5
) -> RunConfig:
    return resolve(None, {
        "dataset": str(folder), "method": method, "k_core": core, "dp.epsilon": 8.0,
        "dp.noise": "simulation", "dp.catalogue": catalogue, "baselines": [], **METHODS[method]})


def rows_of(data: Dataset) -> dict[str, set[str]]:
    """User -> items of the user's training."""
    return {str(user): set(data.item_ids[data.train.row(n)].tolist())
            for n, user in enumerate(data.user_ids)}


def who_shows(
    folder: Path, rows: pd.DataFrame, users: list[str], catalogue: str,
    method: str = "group_statistics", core: int = 5, told_of: int = 1000,
) -> list[str]:
    """Those of the users whose absence changes something public, or another user's training.

    told_of: of so many users all that is told is made anew; of the others, what it is made from.
    """
    config = config_of(written(folder, rows), catalogue, method, core)
    whole = load_data(config)
    before, theirs = told(config, whole), rows_of(whole)
    out = []
    for number, user in enumerate(users):
        written(folder, rows, leave=user)
        try:
            less = load_data(config)
        except UserError:
            out.append(user)
            continue
        others = {u: items for u, items in rows_of(less).items() if u != user}
        same = (
            np.array_equal(less.item_ids, whole.item_ids)
            and np.array_equal(less.user_ids, whole.user_ids)
            and all(less.features[n].tobytes() == x.tobytes() for n, x in whole.features.items())
            and others == {u: items for u, items in theirs.items() if u != user})
        if not same or (number < told_of and told(config, less) != before):
            out.append(user)
    return out


def some(data: Dataset, count: int) -> list[str]:
    drawn = np.random.default_rng(5).choice(data.user_ids, count, replace=False)
    return [str(user) for user in drawn]


@pytest.mark.parametrize(("method", "timed", "count"), [
    ("group_statistics", True, 15), ("group_statistics", False, 15), ("gfmfr", True, 15),
    pytest.param("group_statistics", True, 50, marks=pytest.mark.slow)])
def test_no_user_shows_in_what_is_public(
    method: str, timed: bool, count: int, tmp_path: Path
) -> None:
    data = load("planted:80", k_core=0, seed=0)
    rows = as_folder(data, tmp_path / "data", timed)
    users = some(data, count)
    assert not who_shows(tmp_path / "data", rows, users, "public", method)
    # The 5-core of the rows does show them: this comparison would find it.
    assert who_shows(tmp_path / "data", rows, users[:5], "from_interactions", method)


def chain() -> pd.DataFrame:
    """CHAIN users in a ring, each item held by 3 of them and each user holding 3 items, and a block
    of users who hold the same items. The 3-core is everybody; without one of the ring it is the
    block."""
    ring = [(f"r{u}", f"a{(u + k) % CHAIN}", 10 + k) for u in range(CHAIN) for k in range(3)]
    block = [(f"b{u}", f"c{i}", 10 + i) for u in range(BLOCK) for i in range(BLOCK)]
    return pd.DataFrame(ring + block, columns=["user_id", "item_id", "timestamp"])


def chain_folder(folder: Path) -> Path:
    folder.mkdir()
    items = sorted(set(chain()["item_id"]))
    pd.DataFrame({"item_id": items}).to_csv(folder / "items.csv", index=False)
    np.save(folder / "smell_feat.npy", np.random.default_rng(1).normal(size=(len(items), 6)))
    pd.DataFrame({"user_id": chain()["user_id"].unique()}).to_csv(
        folder / "users.csv", index=False)
    return folder


def test_one_who_leaves_takes_no_other_along(tmp_path: Path) -> None:
    folder = chain_folder(tmp_path / "data")
    flags: Mapping[str, Any] = {"k_core": 3, "seed": 0}
    whole = load(str(written(folder, chain())), **flags)
    assert whole.num_users == CHAIN + BLOCK
    less = load(str(written(folder, chain(), "r7")), **flags)
    assert less.num_users == BLOCK  # one is left out, and CHAIN - 1 others are gone
    assert who_shows(folder, chain(), ["r7"], "from_interactions", core=3) == ["r7"]
    assert not who_shows(folder, chain(), ["r7", "b1"], "public", core=3)
    public = load(str(written(folder, chain(), "r7")), **flags, unit="user")
    assert public.num_users == CHAIN + BLOCK and public.num_items == CHAIN + BLOCK
    # All train; whom the experimenter can compare is another matter.
    assert (public.train.counts == 0).sum() == 1
    assert (public.test >= 0).sum() == BLOCK
    assert public.candidates is not None and public.candidates.sum() == BLOCK


@pytest.mark.slow
def test_no_user_of_ml100k_shows(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "ml100k_posters"
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("items.csv", "text_feat.npy", "image_feat.npy"):
        (folder / name).symlink_to(source / name)
    rows = pd.read_csv(source / "interactions.csv", dtype=str)
    pd.DataFrame({"user_id": rows["user_id"].unique()}).to_csv(folder / "users.csv", index=False)
    users = np.random.default_rng(6).choice(rows["user_id"].unique(), 50, replace=False).tolist()
    assert not who_shows(folder, rows, users, "public", told_of=5)
    assert who_shows(folder, rows, users[:20], "from_interactions", told_of=0)


def test_short_users_train_on_all_they_have(tmp_path: Path) -> None:
    folder = chain_folder(tmp_path / "data")
    rows = pd.concat([chain(), pd.DataFrame({
        "user_id": ["s1", "s2", "s2"], "item_id": ["c0", "c1", "a3"], "timestamp": [1, 1, 2]})])
    (folder / "users.csv").unlink()
    written(folder, rows)
    data = load(str(folder), k_core=3, seed=0, unit="user")
    got = rows_of(data)
    assert got["s1"] == {"c0"} and got["s2"] == {"c1", "a3"}
    short = np.isin(data.user_ids, ["s1", "s2"])
    assert (data.test[short] == -1).all() and (data.validation[short] == -1).all()
    with pytest.raises(DataError, match="needs 3"):
        load(str(folder), k_core=0, seed=0)


def test_without_a_catalogue_a_budget_is_refused(tmp_path: Path) -> None:
    written(tmp_path, chain())
    with pytest.raises(UserError, match=r"items\.csv with a column item_id.*from_interactions"):
        load_data(config_of(tmp_path, "public"))
    made = load_data(config_of(tmp_path, "from_interactions"))
    assert not made.public_items
    with pytest.raises(UserError, match=r"dp\.catalogue: the items of .* users' own rows"):
        Session.start(config_of(tmp_path, "public"), made)


def test_the_statement_names_items_that_come_from_rows(tmp_path: Path) -> None:
    folder = written(chain_folder(tmp_path / "data"), chain())
    for catalogue, there in (("from_interactions", True), ("public", False)):
        config = config_of(folder, catalogue)
        promise = Session.start(config, load_data(config)).statement
        found = [line for line in promise.not_covered if "users' own rows" in line]
        assert bool(found) == there
        assert any("users' own rows" in line for line in promise.lines()) == there


def test_other_layouts_take_their_catalogue_from_files(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    table = "".join(f"{u}\t{(u + k) % 7}\t{k}\n" for u in range(7) for k in range(4))
    (tmp_path / "rows" / "toy.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\n" + table)
    with pytest.raises(DataError, match=r"items\.csv"):
        load(str(tmp_path / "rows"), k_core=0, seed=0, unit="user")
    (tmp_path / "rows" / "items.csv").write_text(
        "item_id,shelf\n" + "".join(f"{n},{n + 1}\n" for n in range(9)))
    declared = load(str(tmp_path / "rows"), k_core=0, seed=0, unit="user")
    assert declared.num_items == 9 and declared.items["shelf"].tolist()[8] == "9"
    (tmp_path / "rows" / "items.csv").unlink()
    (tmp_path / "rows" / "toy.item").write_text(
        "item_id:token\tshelf:token\n" + "".join(f"{n}\t1\n" for n in range(10)))
    assert load(str(tmp_path / "rows"), k_core=0, seed=0, unit="user").num_items == 10
    assert load(str(tmp_path / "rows"), k_core=0, seed=0).num_items == 7
    (tmp_path / "numbered").mkdir()
    (tmp_path / "numbered" / "toy.inter").write_text("userID\titemID\ttimestamp\n" + table)
    np.save(tmp_path / "numbered" / "text_feat.npy", np.ones((11, 2)) * np.arange(11)[:, None])
    data = load(str(tmp_path / "numbered"), k_core=0, seed=0, unit="user")
    assert data.num_items == 11 and data.features["text"][10, 0] == 10


def test_tables_in_memory_go_over_to_their_catalogue(tmp_path: Path) -> None:
    rows = chain()
    items = pd.DataFrame({"item_id": [*sorted(set(rows["item_id"])), "nobodys"]})
    bare = Dataset.from_pandas(rows, k_core=3)
    assert bare.over_catalogue is None
    data = Dataset.from_pandas(rows, items, k_core=3)
    assert not data.public_items and data.num_items == len(items) - 1
    assert data.over_catalogue is not None
    public = data.over_catalogue(unit="user")
    assert public.public_items and public.num_items == len(items)


def test_what_a_user_holds_out_follows_from_that_user_alone() -> None:
    rows = chain().drop(columns="timestamp").rename(
        columns={"user_id": "user", "item_id": "item"}).assign(line=0)
    items = pd.DataFrame(index=pd.Index(sorted(set(rows["item"]))))

    def held(frame: pd.DataFrame) -> dict[str, set[str]]:
        raw = Raw("toy", "toy", frame.reset_index(drop=True), items, catalogue=items)
        return rows_of(prepare_over_catalogue(raw, 0, 3))

    whole = held(rows)
    assert held(rows.sample(frac=1, random_state=2)) == whole
    less = held(rows[rows["user"] != "b0"])
    assert less == {user: own for user, own in whole.items() if user != "b0"}


def test_what_is_changed_is_changed_over_the_catalogue(tmp_path: Path) -> None:
    rows = as_folder(load("planted:80", k_core=0, seed=0), tmp_path / "data")
    folder = written(tmp_path / "data", rows[rows["item_id"] != "i3"])
    for name, share in (("cold_items", 0.2), ("drop_features", 0.3)):
        data = pf.load(folder, **{name: share})
        assert not data.public_items and data.over_catalogue is not None
        public = data.over_catalogue(unit="user")
        assert public.public_items and public.num_items == 240
        there = load_data(config_of(folder, "public").model_copy(update={name: share}))
        assert public.sha256 == there.sha256


def test_a_run_from_before_took_its_items_from_interactions(tmp_path: Path) -> None:
    text = to_toml(config_of(tmp_path, "public"))
    (tmp_path / "config.toml").write_text(text)
    assert resolve_saved(tmp_path / "config.toml").catalogue_unit == "user"
    (tmp_path / "config.toml").write_text(text.replace('catalogue = "public"\n', ""))
    assert resolve_saved(tmp_path / "config.toml").catalogue_unit is None
    # What somebody writes today is under the rule of today.
    assert resolve(tmp_path / "config.toml", {}).catalogue_unit == "user"


def test_a_run_of_a_loaded_folder_goes_over_and_compares(tmp_path: Path) -> None:
    rows = as_folder(load("planted:80", k_core=0, seed=0), tmp_path / "data")
    data = pf.load(written(tmp_path / "data", rows[rows["item_id"] != "i3"]))
    assert not data.public_items and data.num_items < 240
    same: dict[str, Any] = {"method": "popularity", "baselines": ["popularity"]}
    plain = pf.train(data, **same)
    private = pf.train(data, dp_epsilon=2.0, noise="simulation", **same)
    assert private.record["dataset"]["items"] == 240
    assert private.record["dataset"]["items_from"] == "a public catalogue"
    # Ranked as without a budget: among the items of the core, which the record says.
    said = private.record["protocol"]["candidates"]
    assert f"of the {data.num_items} items of the 5-core" in said
    assert to_arrays(private.ranks)["test"].max() <= data.num_items
    table = pf.compare([plain, private])
    assert table["epsilon"].isna().tolist() == [True, False]
    # Without times other items are held out, and what users were ranked does not compare.
    written(tmp_path / "data", rows.drop(columns="timestamp"))
    untimed = [pf.load(tmp_path / "data"), load_data(config_of(tmp_path / "data", "public"))]
    assert untimed[0].read_sha256 != untimed[1].read_sha256
    assert not np.array_equal(untimed[0].test, untimed[1].test)


def test_a_catalogue_in_another_order_with_more_items_compares(tmp_path: Path) -> None:
    """A layout lists the items that have rows as they come, and a catalogue as it is."""
    (tmp_path / "d.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\n"
        + "".join(f"{u}\t{i}\t{9 - i}\n" for u in range(6) for i in range(5)))
    (tmp_path / "d.item").write_text(
        "item_id:token\tmovie_title:token_seq\tclass:token_seq\n"
        + "".join(f"{i}\tnight {i} {'river' * (i % 2)}\tDrama\n" for i in (4, 2, 9, 0, 1, 3)))
    same: dict[str, Any] = {"method": "popularity", "baselines": [], "seed": 1}
    plain = pf.train(str(tmp_path), settings={"k_core": 2}, **same)
    private = pf.train(str(tmp_path), settings={"k_core": 2}, dp_epsilon=2.0, dp_delta=1e-3,
                       noise="simulation", **same)
    one, two = plain.record["dataset"], private.record["dataset"]
    assert (one["items"], two["items"]) == (5, 6) and one["sha256"] != two["sha256"]
    assert one["read_sha256"] == two["read_sha256"]
    assert len(pf.compare([plain, private])) == 2


def test_equal_data_compares_whatever_was_read() -> None:
    here = SameData("read so", "content", 9, 8)
    assert here.alike(SameData("read otherwise", "content", 9, 8))
    assert here.alike(SameData("read so", "the core of it", 9, 7))  # of those ranked in both
    assert here.alike(SameData("read so", "the core of it", 12, 8))  # some train and are not ranked
    assert not here.alike(SameData("read so", "the core of it", 12, 9))
    assert not here.alike(SameData("read otherwise", "the core of it", 9, 8))


def test_pairs_are_of_users_ranked_in_both() -> None:
    cut = cut_of("hr@10")
    one, other = np.array([1, 0, 30, 2]), np.array([1, 2, 2, 0])  # 0: not ranked
    ours, theirs = cut.paired(one, other)
    assert (ours.tolist(), theirs.tolist()) == ([1.0, 0.0], [1.0, 1.0])
    ours, theirs = cut.paired(one, np.array([0, 1, 30, 0, 2, 0]))
    assert (ours.tolist(), theirs.tolist()) == ([1.0, 0.0, 1.0], [1.0, 0.0, 1.0])


@pytest.mark.parametrize("timed", [True, False])
def test_one_interaction_is_at_most_one_in_training(timed: bool) -> None:
    """At a threshold it would be three: whoever has few rows holds nothing out."""
    items = pd.DataFrame(index=pd.Index([f"i{n}" for n in range(9)]))

    def trained(rows: list[int], unit: Unit) -> set[str]:
        frame = pd.DataFrame({"user": "ann", "item": [f"i{n}" for n in rows], "line": 0})
        frame = frame.assign(time=rows) if timed else frame
        raw = Raw("toy", "toy", frame, items, catalogue=items)
        return rows_of(prepare_over_catalogue(raw, 0, 0, unit))["ann"]

    def most(unit: Unit) -> int:
        return max(len(trained(list(range(n)), unit) ^ trained(
            [i for i in range(n) if i != out], unit)) for n in range(2, 8) for out in range(n))

    assert most("interaction") == 1
    assert most("user") == 3
