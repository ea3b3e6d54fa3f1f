"""Columns of an item table become a modality, in every layout, whoever has rated what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import privfedmm as pf
from privfedmm.config import resolve, resolve_saved
from privfedmm.data import Dataset, Encoding, load, read_catalogue
from privfedmm.data.kinds import names_of
from privfedmm.data.metadata import columns_of, metadata_of, years_in
from privfedmm.encoders import EncoderSettings
from tests.commands import BARE, cli
from tests.small_tables import ITEMS, delimited, rows

GENRES = ("Drama", "Comedy", "War")
KINDS = ("Drama, Comedy", "War", "War, Drama")  # in turns, so that each of three is in several
OFF = {"text_model": "none", "image_model": "none"}


def items(**more: object) -> pd.DataFrame:
    return pd.DataFrame({
        "item_id": [str(n) for n in range(ITEMS)], "genres": [KINDS[n % 3] for n in range(ITEMS)],
        "year": [str(1990 + n) for n in range(ITEMS)], **more})


def how(**more: object) -> Encoding:
    return Encoding(EncoderSettings.model_validate({**OFF, **more}), Path("no-cache-is-needed"))


def folder(place: Path, listed: pd.DataFrame | None = None) -> Path:
    place.mkdir()
    (place / "interactions.csv").write_text(delimited(","))
    (items() if listed is None else listed).to_csv(place / "items.csv", index=False)
    return place


def recbole(place: Path) -> None:
    header = "user_id:token item_id:token rating:float timestamp:float"
    (place / "set.inter").write_text(delimited("\t", header))
    (place / "set.item").write_text(
        "item_id:token\tclass:token_seq\trelease_year:token\n" + "".join(
            f"{n}\t{KINDS[n % 3].replace(',', '')}\t{1990 + n}\n" for n in range(ITEMS)))


def movielens(place: Path) -> None:
    (place / "ratings.csv").write_text(delimited(",", "userId movieId rating timestamp"))
    (place / "movies.csv").write_text("movieId,title,genres\n" + "".join(
        f"{n},Film {n} ({1990 + n}),{KINDS[n % 3].replace(', ', '|')}\n" for n in range(ITEMS)))


def flags(place: Path) -> None:
    """u.item, whose genres are columns of 0 and 1 and whose titles end with the year."""
    at = {"Comedy": 5, "Drama": 8, "War": 17}
    (place / "u.data").write_text(delimited("\t", None))
    (place / "u.item").write_text("".join(
        f"{n}|Film {n} ({1990 + n})|||http://x|" + "|".join(
            "1" if i in {at[g] for g in KINDS[n % 3].split(", ")} else "0" for i in range(19))
        + "\n" for n in range(ITEMS)))


def amazon(place: Path) -> None:
    (place / "interactions.jsonl").write_text("".join(
        json.dumps({"user_id": r.user_id, "parent_asin": r.item_id, "timestamp": r.timestamp})
        + "\n" for r in rows().itertuples()))
    (place / "items.jsonl").write_text("".join(json.dumps({
        "parent_asin": str(n), "categories": KINDS[n % 3].split(", "),
        "date": f"{1990 + n}-06-01"}) + "\n" for n in range(ITEMS)))


@pytest.mark.parametrize("write", [recbole, movielens, flags, amazon])
def test_layouts_give_the_features_of_our_own(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    ours = load(str(folder(tmp_path / "ours")), k_core=0, seed=0, encoding=how())
    (tmp_path / "set").mkdir()
    write(tmp_path / "set")
    there = load(str(tmp_path / "set"), k_core=0, seed=0, encoding=how())
    assert list(there.features) == ["metadata"]
    np.testing.assert_array_equal(there.features["metadata"], ours.features["metadata"])
    assert ours.features["metadata"].shape == (ITEMS, 3 + 17)
    assert "(3 names)" in there.feature_notes["metadata"]
    assert "1990 to 1998" in there.feature_notes["metadata"]


def test_tables_in_memory_have_what_a_folder_has(tmp_path: Path) -> None:
    smell = np.sqrt(np.arange(ITEMS * 2).reshape(ITEMS, 2)).astype(np.float32)
    place = folder(tmp_path / "set")
    np.save(place / "smell_feat.npy", smell)
    there = load(str(place), k_core=0, seed=0)
    here = Dataset.from_pandas(
        rows(), items(year=range(1990, 1990 + ITEMS)), {"smell": smell}, k_core=0)
    assert sorted(here.features) == ["metadata", "smell"] and here.sha256 == there.sha256
    assert here.feature_notes == there.feature_notes


@pytest.mark.parametrize(("cells", "names"), [
    (["a, b", "b", ""], [{"a", "b"}, {"b"}, set()]),
    (["a|b, c", "b, c|a", "a"], [{"a", "b, c"}, {"a", "b, c"}, {"a"}]),
    (["A ; b", "B", "none"], [{"a", "b"}, {"b"}, set()]),
    (["x > y > z", "x", "y"], [{"x", "y", "z"}, {"x"}, {"y"}]),
    (['["a, b", "c"]', "['c', \"d's\"]", "[]"], [{"a, b", "c"}, {"c", "d's"}, set()]),
    (["[{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}]", '{"name": "b"}', "[c, d]"],
     [{"a", "b"}, {"b"}, {"c", "d"}]),
    (["a b", "b a", "b", "a"], [{"a", "b"}, {"a", "b"}, {"b"}, {"a"}]),
])
def test_names_in_a_cell(cells: list[str], names: list[set[str]]) -> None:
    found = names_of(pd.Series(cells), "genres")
    every = sorted(set().union(*names))
    assert [{every[c] for c in row.indices} for row in found] == names
    assert found.shape == (len(cells), len(every)) and set(found.data) <= {1.0}


def test_names_of_people_are_not_cut_at_blanks() -> None:
    cells = pd.Series(["Jo Ann", "Jo", "Ann", "Ann Jo"])
    assert names_of(cells, "director").shape == (4, 4)
    assert names_of(cells, "tags").shape == (4, 2)


def test_years_are_read_in_the_ways_that_people_write_them() -> None:
    told = years_in(pd.Series([
        "1995", " 1995.0 ", "1995-07-02", "19950702", "02-Jan-1995", "July 2, 1995", "804643200",
        "804643200000", "", "0", "nineteen", "12345"]))
    np.testing.assert_array_equal(np.floor(told), [1995] * 8 + [np.nan] * 4)
    assert told[2] == told[3] == 1995.5


def test_neighbouring_years_are_alike_and_rare_kinds_weigh_more() -> None:
    table = items(genres=["War"] * 2 + ["Drama"] * 3 + ["Drama, War"] * 4).set_index("item_id")
    made = metadata_of(table)
    assert made is not None
    kinds, years = made.rows[:, :2], made.rows[:, 2:]
    like = years @ years[0]
    assert (np.diff(like) < 0).all() and like[0] == pytest.approx(1) and like[-1] < 1e-5
    # Drama is of 7 items, War of 6: where an item has both, the rarer counts more.
    assert kinds[8, 1] > kinds[8, 0] > 0
    np.testing.assert_allclose(np.linalg.norm(made.rows, axis=1), np.sqrt(2), rtol=1e-6)


def test_columns_that_tell_nothing_are_left_out() -> None:
    table = pd.DataFrame({
        "imdb_id": [f"tt{n}" for n in range(9)], "brand": [f"b{n}" for n in range(9)],
        "language": "en", "year": "1999", "plot": "of war"})
    assert columns_of(table) == ["brand", "language", "year"] and metadata_of(table) is None
    made = metadata_of(table.assign(Genre=["x", "y", "y"] * 3))
    assert made is not None and made.note == "Genre (2 names)"
    assert metadata_of(table[["plot"]]) is None and metadata_of(table.iloc[:0]) is None


def test_many_names_become_few_components_and_no_order_matters() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "brand": [f"brand {n}" for n in rng.integers(0, 200, 900)],
        "tags": [", ".join(f"t{t}" for t in rng.integers(0, 150, 4)) for _ in range(900)],
        "year": [str(y) for y in rng.integers(1960, 2020, 900)]},
        index=[f"i{n}" for n in range(900)])
    made = metadata_of(table)
    assert made is not None and made.rows.shape == (900, 128) and "111 components" in made.note
    shuffled = table.sample(frac=1, random_state=1)
    again = metadata_of(shuffled)
    assert again is not None
    back = pd.DataFrame(again.rows, index=shuffled.index).loc[table.index]
    np.testing.assert_array_equal(back.to_numpy(), made.rows)
    # What is kept tells items apart as the names themselves do: same brand, more alike.
    whole = made.rows @ made.rows.T
    same = table["brand"].to_numpy()[:, None] == table["brand"].to_numpy()
    np.fill_diagonal(same, False)
    assert whole[same].mean() > whole[~same].mean() + 0.1


def test_items_without_any_lack_the_modality(tmp_path: Path) -> None:
    listed = items()
    listed.loc[[2, 5], ["genres", "year"]] = ""
    listed.loc[3, "genres"] = ""
    data = load(str(folder(tmp_path / "set", listed)), k_core=0, seed=0, encoding=how())
    assert np.flatnonzero(~data.present["metadata"]).tolist() == [2, 5]
    assert data.missing == {"metadata": 2, "every": 2} and data.summary is not None
    assert "2 of 9 items have none of it" in data.summary.sentences()[-1]
    assert not data.features["metadata"][[2, 5]].any() and data.features["metadata"][3].any()


@pytest.mark.parametrize("write", [recbole, movielens])
def test_features_are_the_same_whoever_has_rated_what(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    """A filter over rows, a user less and a budget leave every item's features as they are."""
    write(tmp_path)
    name = next(tmp_path.glob("*.inter"), tmp_path / "ratings.csv")
    every = load(str(tmp_path), k_core=0, seed=0, encoding=how())
    core = load(str(tmp_path), k_core=3, seed=0, encoding=how())
    public = load(str(tmp_path), k_core=0, seed=0, encoding=how(), unit="user")
    text = name.read_text().splitlines()
    name.write_text("\n".join(line for line in text if not line.startswith("31")) + "\n")
    fewer = load(str(tmp_path), k_core=0, seed=0, encoding=how())
    less = load(str(tmp_path), k_core=0, seed=0, encoding=how(), unit="user")
    np.testing.assert_array_equal(less.features["metadata"], public.features["metadata"])
    whole = dict(zip(public.item_ids, public.features["metadata"], strict=True))
    for data in (every, core, fewer):
        for item, row in zip(data.item_ids, data.features["metadata"], strict=True):
            np.testing.assert_array_equal(row, whole[item])


def test_what_is_the_same_of_all_that_are_left_is_left_out(tmp_path: Path) -> None:
    listed = items(genres=["War"] * 8 + ["Drama"], year="").assign(genres=["War"] * ITEMS)
    listed = pd.concat([listed, pd.DataFrame({
        "item_id": ["x", "y"], "genres": "Drama", "year": ""})])
    data = load(str(folder(tmp_path / "set", listed)), k_core=1, seed=0, encoding=how())
    assert data.features == {} and data.feature_notes == {} and data.summary is not None
    assert any("metadata: left out" in line for line in data.summary.sentences())


def test_it_can_be_turned_off_and_is_part_of_the_hash(tmp_path: Path) -> None:
    place = folder(tmp_path / "set")
    np.save(place / "smell_feat.npy", np.sqrt(np.arange(ITEMS * 2).reshape(ITEMS, 2)))
    on, off = (load(str(place), k_core=0, seed=0, encoding=how(metadata=m)) for m in (True, False))
    assert sorted(on.features) == ["metadata", "smell"] and list(off.features) == ["smell"]
    assert on.sha256 != off.sha256 and on.read_sha256 != off.read_sha256
    assert on.summary is not None and off.summary is not None
    said = on.summary.sentences()[-1]
    assert "metadata: genres (3 names), year (1990 to 1998, in soft bins); of items.csv" in said
    assert "not used (encoders.metadata false)" in off.summary.sentences()[-1]
    items(year="").to_csv(place / "items.csv", index=False)
    assert load(str(place), k_core=0, seed=0, encoding=how()).sha256 != on.sha256
    np.save(place / "metadata_feat.npy", np.eye(ITEMS))  # a file of that name wins
    assert load(str(place), k_core=0, seed=0).features["metadata"].shape == (ITEMS, ITEMS)


def test_nodes_of_a_deployment_are_sent_the_same(tmp_path: Path) -> None:
    place = folder(tmp_path / "set")
    whole = load(str(place), k_core=0, seed=0, encoding=how(), unit="user")
    (place / "interactions.csv").unlink()
    told = read_catalogue(place, how())
    np.testing.assert_array_equal(told.features["metadata"], whole.features["metadata"])
    assert dict(told.notes) == whole.feature_notes


def test_runs_of_before_and_the_reference_have_none(tmp_path: Path) -> None:
    assert resolve(None, {}).encoders.metadata
    assert not resolve(None, {"mode": "reference"}).encoders.metadata
    (tmp_path / "config.toml").write_text('dataset = "x"\n[encoders]\ntext_model = "none"\n')
    assert not resolve_saved(tmp_path / "config.toml").encoders.metadata


@pytest.mark.parametrize("method", ["gfmfr", "group_statistics"])
def test_methods_read_it_as_any_other(method: str, tmp_path: Path) -> None:
    place = folder(tmp_path / "set")
    np.save(place / "text_feat.npy", np.random.default_rng(0).normal(size=(ITEMS, 4)))
    common: dict[str, object] = {
        "method": method, "rounds": 3, "k_core": 0,
        "baselines": ["public_features", "popularity_profile"]}
    run = pf.train(str(place), **common)  # type: ignore[arg-type]
    alone = pf.train(str(place), modalities=("text",), **common)  # type: ignore[arg-type]
    assert run.record["dataset"]["modalities"] == {"metadata": 20, "text": 4}
    assert set(run.record["dataset"]["feature_sha256"]) == {"metadata", "text"}
    assert "genres" in run.record["dataset"]["feature_notes"]["metadata"]
    assert run.record["baselines"]["popularity_profile"]
    users = run.data.user_ids[:2]
    for one, there in ((run, True), (alone, False)):
        told = one.recommend(users[0], top=2, explain=True)
        assert any("metadata" in name for name in told.columns) == there


def test_check_and_run_say_it(tmp_path: Path) -> None:
    place = folder(tmp_path / "set")
    said = cli("data", "check", str(place), "--k-core", "0")
    assert said.returncode == 0 and "metadata: genres (3 names)" in said.stdout
    done = cli("run", "--dataset", str(place), "--rounds", "1", "--k-core", "0", *BARE,
               "--set", "encoders.text_model=none", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["dataset"]["modalities"] == {"metadata": 20}
    assert record["config"]["encoders"]["metadata"] is True
