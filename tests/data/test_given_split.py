"""A split that the data names, with several held-out items a user: what is ranked against what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import privfedmm as pf
from privfedmm.base.errors import UserError
from privfedmm.data import DataError, Dataset, drop_features, hold_out_items, load, split_by
from privfedmm.evaluation import Places, evaluate_on, from_arrays, to_arrays
from privfedmm.runs.account import users_digest
from privfedmm.runs.run import protocol_of
from tests.commands import BARE, cli

USERS, ITEMS = 24, 40
FLAGS: dict[str, Any] = {"k_core": 0, "rounds": 1, "baselines": ["popularity"]}


def table() -> pd.DataFrame:
    """Users with one to three validation items and two to five test items, the last in time."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        parts = ["train"] * 8 + ["validation"] * (1 + user % 3) + ["test"] * (2 + user % 4)
        for time, (part, item) in enumerate(
                zip(parts, rng.permutation(ITEMS - 2)[:len(parts)], strict=True)):
            rows.append((f"u{user:02}", f"i{item:02}", 100 * user + time, part))
    # Items that nobody trains on: one that is the last test item of somebody, one that is not.
    rows[-1] = ("u23", "i38", 2390, "test")
    rows.insert(0, ("u00", "i39", -1, "test"))
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "split"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "toy"
    place.mkdir()
    table().sample(frac=1, random_state=1).to_csv(place / "interactions.csv", index=False)
    names = [f"i{n:02}" for n in range(ITEMS)]
    pd.DataFrame({"item_id": names}).to_csv(place / "items.csv", index=False)
    np.save(place / "text_feat.npy",
            np.random.default_rng(1).normal(size=(ITEMS, 6)).astype(np.float32))
    return place


def held(data: Dataset) -> dict[tuple[str, str], set[str]]:
    """(user, part) -> the items of it that are ranked."""
    out = {}
    for part, rows in data.targets.items():
        for user in range(data.num_users):
            items = [rows[user]] if isinstance(rows, np.ndarray) else rows.row(user)
            out[str(data.user_ids[user]), part] = {str(data.item_ids[i]) for i in items if i >= 0}
    return out


def named(rows: pd.DataFrame, part: str) -> dict[str, list[str]]:
    found = rows[rows["split"] == part].sort_values("timestamp").groupby("user_id")["item_id"]
    return {str(user): items.tolist() for user, items in found}


def slow_ranks(
    scores: np.ndarray, data: Dataset, part: str, every: bool
) -> dict[str, list[int]]:
    """The ranks of each user's targets, from the file and the scores alone."""
    rows, number = table(), {str(i): n for n, i in enumerate(data.item_ids)}
    out = {}
    for row, user in enumerate(data.user_ids):
        mine = rows[rows["user_id"] == user]
        targets = named(mine, part)[str(user)][0 if every else -1:]
        free = [n for i, n in number.items() if i not in set(mine["item_id"])]
        worst_first = sorted((number[i] for i in targets), key=lambda n: -scores[row, n])
        out[str(user)] = [
            place + sum(scores[row, n] >= scores[row, target] for n in free)
            for place, target in enumerate(worst_first, 1)]
    return out


def scores_of(run: pf.Run) -> np.ndarray:
    algorithm, state, clients = run._restore()
    found: np.ndarray = algorithm.scores(
        state, clients, np.arange(run.data.num_users)).numpy()
    return found


def test_every_item_is_a_target_on_request(folder: Path) -> None:
    data = pf.load(folder, k_core=0, split="given")
    parts = {part: named(table(), part) for part in ("validation", "test")}
    assert held(data) == {
        (user, part): set(items) for part, mine in parts.items() for user, items in mine.items()}
    assert data.protocol.given and data.aside is None
    assert data.num_interactions == len(table()) and "i39" in data.item_ids


def test_of_several_items_the_last_is_the_target_by_default(folder: Path) -> None:
    data = pf.load(folder, k_core=0)
    for part in ("validation", "test"):
        for user, items in named(table(), part).items():
            assert held(data)[user, part] == {items[-1]}
    # An item that is only further held out is not in the data, as before.
    assert "i39" not in data.item_ids and "i38" in data.item_ids
    assert data.aside is not None


@pytest.mark.parametrize("split", ["auto", "given"])
def test_other_held_out_items_are_no_candidates(split: str, folder: Path) -> None:
    """The recorded ranks are those of a slow count that leaves all other held-out items out."""
    run = pf.train(folder, split=split, **FLAGS)
    scores = scores_of(run)
    for part in ("validation", "test"):
        found = Places.of(run.ranks[part])
        slow = slow_ranks(scores, run.data, part, split == "given")
        assert found.ranks.tolist() == [rank for user in slow.values() for rank in user]
    counted = run.record["protocol"]["targets"]["test"]
    wanted = (2, 5) if split == "given" else (1, 1)
    assert (counted["min"], counted["max"], counted["users"]) == (*wanted, USERS)
    assert counted["mean"] == (pytest.approx((table()["split"] == "test").sum() / USERS)
                               if split == "given" else 1)
    assert ("other held-out items" in run.record["protocol"]["candidates"]) == (split == "auto")


def test_sampled_negatives_are_no_held_out_items(folder: Path) -> None:
    """With as many as there are, sampled and full ranks are one; the record says how many."""
    flags = {**FLAGS, "settings": {"evaluation.sampled_negatives": ITEMS}}
    sampled, full = pf.train(folder, **flags), pf.train(folder, **FLAGS)
    assert (to_arrays(sampled.ranks)["test"] == to_arrays(full.ranks)["test"]).all()
    said = sampled.record["protocol"]
    left = ITEMS - 1 - table().groupby("user_id").size()  # i39 is not in the data
    left["u00"] += 1
    assert said["ranking"] == f"sampled-{ITEMS}"
    assert said["negatives"] == {
        "asked": ITEMS, "smallest": left.min(), "mean": pytest.approx(left.mean()),
        "users_with_fewer": USERS}
    assert f"{left.min()} at least" in said["candidates"]
    # Where there are enough, nothing is said.
    few = pf.train(folder, **{**FLAGS, "settings": {"evaluation.sampled_negatives": 5}})
    assert few.record["protocol"]["negatives"] == {
        "asked": 5, "smallest": 5, "mean": 5.0, "users_with_fewer": 0}
    assert "at least" not in few.record["protocol"]["candidates"]


def test_leave_one_out_on_request_is_that_of_the_same_rows_without_a_split(
    folder: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "toy"
    bare.mkdir()
    for file in folder.iterdir():
        (bare / file.name).write_bytes(file.read_bytes())
    rows = pd.read_csv(folder / "interactions.csv")
    rows.drop(columns="split").to_csv(bare / "interactions.csv", index=False)
    without = load(str(bare), k_core=0, seed=0)
    asked = pf.load(folder, k_core=0, split="leave-one-out")
    assert asked.sha256 == without.sha256 and asked.read_sha256 == without.read_sha256
    assert not asked.protocol.given and not asked.further
    assert "own split is not used" in asked.protocol.note
    # Under a budget too: over the catalogue the same rows are split the same way.
    assert asked.over_catalogue and without.over_catalogue
    assert asked.over_catalogue(unit="user").sha256 == without.over_catalogue(unit="user").sha256
    # Whatever is held out, the users are the same, and so is their account.
    hashes = {users_digest(pf.load(folder, k_core=0, split=split))
              for split in ("given", "leave-one-out")}
    assert len(hashes) == 1


def test_a_budget_ranks_every_target_of_the_core(folder: Path) -> None:
    run = pf.train(folder, split="given", k_core=3, dp_epsilon=4.0, noise="simulation",
                   method="popularity", baselines=[])
    data, counts = run.data, table()["item_id"].value_counts()
    assert data.public_items and data.num_items == ITEMS and data.candidates is not None
    core = set(counts[counts >= 3].index)  # every user has more rows than that
    for part in ("validation", "test"):
        for user, items in named(table(), part).items():
            kept = held(data)[user, part]
            assert kept <= set(items) & core
            # Where the last one is outside the core, the others of the core are ranked still.
            assert kept == set(items) & core
    assert run.record["protocol"]["targets"]["test"]["max"] > 1


def test_a_split_that_is_not_there_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="split: planted names no held-out items"):
        pf.load("planted:60", split="given")
    rows = table().drop(columns="split")
    with pytest.raises(DataError, match="names no held-out items"):
        split_by(Dataset.from_pandas(rows, k_core=0), "given")
    done = cli("run", "--dataset", "planted:60", "--split", "given", "--out", str(tmp_path / "r"))
    assert done.returncode == 2 and "give it a column split" in done.stderr
    loaded = drop_features(pf.load(folder, k_core=0), 0.1, 0)
    with pytest.raises(DataError, match="was loaded with another split"):
        split_by(loaded, "leave-one-out")


def test_tables_in_memory_are_split_as_asked(folder: Path) -> None:
    data = Dataset.from_pandas(table(), k_core=0)
    for split in ("given", "leave-one-out"):
        there, here = pf.load(folder, k_core=0, split=split), pf.load(data, split=split)
        assert held(here) == held(there)


def test_cold_items_are_no_targets(folder: Path) -> None:
    data = pf.load(folder, k_core=0, split="given")
    cold = hold_out_items(data, 0.2, 0)
    assert cold.cold is not None and cold.sha256 != data.sha256
    gone = {str(i) for i in cold.item_ids[cold.cold]}
    assert {k: v - gone for k, v in held(data).items()} == held(cold)
    ranks = evaluate_on(
        lambda users: np.zeros((len(users), ITEMS), dtype=np.float32), cold,
        protocol_of(pf.train(data, **FLAGS).config)).ranks
    assert Places.of(ranks["test"]).counts.sum() == sum(
        len(v) for (_, part), v in held(cold).items() if part == "test")


def test_a_split_without_validation_takes_one_from_training(tmp_path: Path) -> None:
    """As where a file names the test items alone; under a budget that would be everybody's."""
    rows = table()
    rows = rows[rows["split"] != "validation"]
    data = Dataset.from_pandas(rows, k_core=0)
    for user, items in named(rows, "train").items():
        assert held(data)[user, "validation"] == {items[-1]}
    assert "validation = latest training item" in data.protocol.note
    with pytest.raises(DataError, match="no interaction is marked validation"):
        items = pd.DataFrame({"item_id": sorted(set(rows["item_id"]))})
        over = Dataset.from_pandas(rows, items, k_core=0).over_catalogue
        assert over is not None
        over(unit="user")


def test_metrics_of_the_command_line(folder: Path, tmp_path: Path) -> None:
    """Shown, recorded for the run, its baselines and its rounds, and kept by a resumed run."""
    out = tmp_path / "r"
    done = cli("run", "--dataset", str(folder), "--split", "given", "--k-core", "0", "--rounds",
               "2", "--metrics", "MAP@7,mrr@100", "--out", str(out),
               "--set", 'baselines=["ease"]')
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "record.json").read_text())
    assert record["protocol"]["metrics"] == ["map@7", "mrr@100"]
    assert "mrr@100: a list has no more than 40 candidates" in record["protocol"]["metrics_note"]
    for found in (record["metrics"]["test"], record["baselines"]["ease"]["validation"]):
        assert {"map@7", "mrr@100", "hr@10", "ndcg@50", "recall@20"} <= found.keys()
        assert found["recall@10"] < found["hr@10"]
    for word in ("map@7", "2 to 5", "mrr@100: a list"):
        assert word in done.stderr.replace("\n", " "), word
    assert "hr@10" not in done.stderr
    rounds = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert all("map@7" in row["validation"] for row in rounds)
    (out / "record.json").unlink()
    (out / "ranks.npz").unlink()
    again = cli("run", "--resume", str(out), "--json")
    assert json.loads(again.stdout)["metrics"] == record["metrics"]
    with np.load(out / "ranks.npz") as arrays:
        assert isinstance(from_arrays(dict(arrays))["test"], Places)
    # Any metric, whatever was recorded, and the report over the same ranks.
    frame = pf.compare([out, out], metrics=["precision@3", "ndcg@50"], difference="map@4")
    assert frame["difference"].tolist() == [0, 0]
    assert frame["ndcg@50"][0] == record["metrics"]["test"]["ndcg@50"]
    page = cli("report", str(out))
    assert page.returncode == 0 and f"{record['metrics']['test']['ndcg@50']:.4f}" in page.stdout
    with pytest.raises(UserError, match="no metric 'foo'"):
        pf.compare([out], metrics=["foo@3"])


def test_one_and_several_targets_do_not_compare(folder: Path) -> None:
    runs = [pf.train(folder, split=split, **FLAGS) for split in ("auto", "given")]
    with pytest.raises(UserError, match="do not compare"):
        pf.compare(runs)


def test_a_given_split_of_one_item_a_user_compares_either_way() -> None:
    """What is ranked is the same, whatever was asked for."""
    rows = table().drop_duplicates(["user_id", "split", "timestamp"])
    last = rows[rows["split"] != "train"].groupby(["user_id", "split"]).tail(1)
    data = Dataset.from_pandas(pd.concat([rows[rows["split"] == "train"], last]), k_core=0)
    runs = [pf.train(data, split=split, **FLAGS) for split in ("auto", "given")]
    assert pf.compare(runs)["difference"].tolist() == [0, 0]


@pytest.mark.parametrize(("metrics", "sentence"), [
    ("foo@10", "no metric 'foo'; there are hr, ndcg, recall, precision, map, mrr"),
    ("ndcg@0", "at least 1"), (",", "name at least one metric")])
def test_metrics_that_are_none_are_refused(metrics: str, sentence: str, tmp_path: Path) -> None:
    for command in (["run"], ["compare"]):
        done = cli(*command, "--metrics", metrics, "--out", str(tmp_path / "r"))
        assert done.returncode == 2 and sentence in done.stderr, done.stderr
    assert not (tmp_path / "r").exists()


def test_a_sweep_and_a_comparison_show_what_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(
        'seeds = [0]\n[base]\ndataset = "planted:60"\nrounds = 1\nbaselines = []\n'
        '[[variants]]\nlabel = "one"\n')
    done = cli("sweep", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "s"), "--metrics",
               "recall@3,mrr@5")
    assert done.returncode == 0, done.stderr
    said = done.stderr.replace("\n", " ")
    assert "validation recall@3" in said and "test recall@3" in said and "mrr@5" in said
    found: Mapping[str, Any] = json.loads(
        (tmp_path / "s" / "one" / "seed0" / "record.json").read_text())
    assert found["metrics"]["test"]["recall@3"] >= 0
    done = cli("compare", "--dataset", "planted:60", "--rounds", "1", "--modes", "plain",
               "--dropouts", "0", "--metrics", "mrr@5", "--out", str(tmp_path / "c"), *BARE)
    assert done.returncode == 0 and "test mrr@5" in done.stdout and "ndcg" not in done.stdout
