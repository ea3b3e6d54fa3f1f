"""A data set from tables in memory is the one from a folder, and every fault has its sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privfedmm.data import DataError, Dataset, load

USERS, ITEMS, EACH = 6, 9, 5
# '007' and '7' are two users.
NAMES = ("007", "7", "ann", "1e3", "user 6", "04")


def rows() -> pd.DataFrame:
    """Every user has EACH items in an order that is not that of time."""
    table = pd.DataFrame(
        [(NAMES[u], f"it{(u + k * (1 + u % 2)) % ITEMS}", 3.5, 100 + 10 * k + u)
         for u in range(USERS) for k in range(EACH)],
        columns=["user_id", "item_id", "rating", "timestamp"])
    return table.sample(frac=1, random_state=1)


def items() -> pd.DataFrame:
    """In another order than the ids, with one that nobody touched."""
    order = [*range(ITEMS - 1, -1, -1), 99]
    return pd.DataFrame({"item_id": [f"it{n}" for n in order],
                         "title": [f"Title {n}" for n in order]})


def smell() -> np.ndarray:
    return (np.arange((ITEMS + 1) * 3).reshape(-1, 3) ** 1.5).astype(np.float32)


def folder(place: Path, table: pd.DataFrame, listed: pd.DataFrame | None = None) -> Path:
    """The same data in a folder of our own layout."""
    place.mkdir(exist_ok=True)
    table.to_csv(place / "interactions.csv", index=False)
    if listed is not None:
        listed.to_csv(place / "items.csv", index=False)
    return place


def test_the_same_data_has_the_same_hash_as_in_a_folder(tmp_path: Path) -> None:
    np.save(folder(tmp_path, rows(), items()) / "smell_feat.npy", smell())
    there = load(str(tmp_path), k_core=0, seed=0)
    here = Dataset.from_pandas(rows(), items(), {"smell": smell()}, k_core=0, name=tmp_path.name)
    assert here.sha256 == there.sha256
    assert here.protocol == there.protocol and here.name == there.name
    pd.testing.assert_frame_equal(here.items, there.items)
    np.testing.assert_array_equal(here.train_age, there.train_age)
    assert list(here.user_ids) == sorted(NAMES)


@pytest.mark.slow
def test_texts_are_encoded_as_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVFEDMM_CACHE", str(tmp_path / "cache"))
    there = load(str(folder(tmp_path / "data", rows(), items())), k_core=0, seed=0)
    here = Dataset.from_pandas(rows(), items(), k_core=0)
    assert "text" in here.features and here.sha256 == there.sha256
    assert here.feature_notes == there.feature_notes


def test_missing_features_are_rows_of_nan_or_absent(tmp_path: Path) -> None:
    place = folder(tmp_path, rows(), items())
    np.save(place / "smell_feat.npy", smell())
    np.save(place / "smell_mask.npy", np.arange(ITEMS + 1) != 4)
    there = load(str(tmp_path), k_core=0, seed=0)
    holed = smell()
    holed[4] = np.nan
    by_id = pd.DataFrame(smell(), index=items()["item_id"]).drop(index=items()["item_id"][4])
    for given in (holed, by_id.sample(frac=1, random_state=2)):
        here = Dataset.from_pandas(rows(), items(), {"smell": given}, k_core=0)
        assert here.missing == {"smell": 1, "every": 1}
        assert here.sha256 == there.sha256


def test_features_by_item_id_need_no_table_of_items() -> None:
    by_id = pd.DataFrame(smell(), index=items()["item_id"])
    bare = Dataset.from_pandas(rows(), features={"smell": by_id}, k_core=0)
    whole = Dataset.from_pandas(rows(), items(), {"smell": smell()}, k_core=0)
    assert bare.sha256 == whole.sha256


def test_items_may_be_indexed_by_id_and_titles_follow() -> None:
    data = Dataset.from_pandas(rows(), items().set_index("item_id"), {"smell": smell()}, k_core=0)
    order = items()["item_id"].tolist()
    for index, item in enumerate(data.item_ids):
        assert data.items["title"][index] == f"Title {item[2:]}"
        np.testing.assert_array_equal(data.features["smell"][index], smell()[order.index(item)])


@pytest.mark.parametrize("names", [
    ("user", "item", "time"), ("user_id", "item_id", "date"), ("userId", "itemId", "datetime"),
    ("userID", "itemID", "timestamp"), ("who", "what", "when"),
])
def test_names_of_columns(names: tuple[str, str, str]) -> None:
    table = rows().rename(columns=dict(zip(("user_id", "item_id", "timestamp"), names,
                                           strict=True)))
    told = {"user": "who", "item": "what", "time": "when"} if names[0] == "who" else None
    data = Dataset.from_pandas(table, k_core=0, columns=told)
    assert data.sha256 == Dataset.from_pandas(rows(), k_core=0).sha256
    assert data.protocol.split == "leave-one-out by time"


def test_numbers_are_ids_in_digits(tmp_path: Path) -> None:
    table = rows()
    table["user_id"] = table["user_id"].map({name: n + 5 for n, name in enumerate(NAMES)})
    for kind in ("int64", "Int64", "uint16", "category", "object"):
        data = Dataset.from_pandas(table.astype({"user_id": kind}), k_core=0)
        assert data.user_ids.tolist() == ["5", "6", "7", "8", "9", "10"]
    there = load(str(folder(tmp_path, table)), k_core=0, seed=0)
    assert there.sha256 == data.sha256


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_moments_are_times(unit: str, tmp_path: Path) -> None:
    table = rows()
    table["timestamp"] = pd.to_datetime(table["timestamp"], unit="s", utc=True).dt.as_unit(unit)
    plain = Dataset.from_pandas(rows(), k_core=0)
    assert Dataset.from_pandas(table, k_core=0).sha256 == plain.sha256
    assert load(str(folder(tmp_path, table)), k_core=0, seed=0).sha256 == plain.sha256


def test_a_given_split_and_the_split_seed(tmp_path: Path) -> None:
    place = {EACH - 1: "test", EACH - 2: "validation"}
    table = rows().sort_index().drop(columns="timestamp")
    table["split"] = [place.get(n % EACH, "train") for n in range(len(table))]
    data = Dataset.from_pandas(table, k_core=0)
    assert data.protocol.split == "given split"
    assert data.sha256 == load(str(folder(tmp_path, table)), k_core=0, seed=0).sha256
    loose = table.drop(columns="split")
    one, again, other = (
        Dataset.from_pandas(loose, k_core=0, split_seed=seed).sha256 for seed in (0, 0, 1))
    assert one == again != other


def test_the_tables_are_left_as_they_were() -> None:
    table, listed, matrix = rows(), items(), smell()
    matrix[4] = np.nan
    Dataset.from_pandas(table, listed, {"smell": matrix}, k_core=2)
    pd.testing.assert_frame_equal(table, rows())
    pd.testing.assert_frame_equal(listed, items())
    assert np.isnan(matrix[4]).all()


def at(column: str, place: int, value: object) -> pd.DataFrame:
    """The rows with one value replaced."""
    table = rows().astype({column: object})
    table.iloc[place, table.columns.get_loc(column)] = value
    return table


def with_items(listed: object, given: object = None) -> Callable[[], object]:
    return lambda: Dataset.from_pandas(rows(), listed, given, k_core=0)  # type: ignore[arg-type]


def with_rows(table: object, **more: object) -> Callable[[], object]:
    return lambda: Dataset.from_pandas(
        table, **{"k_core": 0, **more})  # type: ignore[arg-type]


HOLED = smell()
HOLED[4, 1] = np.nan
FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "no table": (with_rows([1, 2]), "interactions is a list; give a pandas DataFrame"),
    "no user": (with_rows(rows().rename(columns={"user_id": "who"})),
                r"no column for the user \(user_id, .*its columns are who, item_id.* columns="),
    "two users": (with_rows(rows().assign(user=1)), "has the columns user_id and user; say which"),
    "told column": (with_rows(rows(), columns={"user": "uid"}),
                    r"has no column 'uid', which .*columns=.* gives; its columns are user_id"),
    "told word": (with_rows(rows(), columns={"usr": "user_id"}), "columns names 'usr', which is"),
    "missing id": (with_rows(at("user_id", 3, None)),
                   r"interactions row 3 \(counted from 0\), column 'user_id', holds an empty id"),
    "blank id": (with_rows(at("item_id", 2, "  ")), r"row 2 .*column 'item_id', holds an empty"),
    "negative id": (with_rows(at("user_id", 2, -4)), r"row 2 .*'user_id', holds a negative user"),
    "float id": (with_rows(at("user_id", 5, 7.0)),
                 r"row 5 .*'user_id', holds an id that is neither text .* with .astype"),
    "float ids": (with_rows(rows().assign(user_id=1.0)), r"row 0 .*'user_id'.* \(type float64\)"),
    "truth as id": (with_rows(at("user_id", 5, True)), r"row 5 .*'user_id', holds an id that"),
    "twice": (with_rows(pd.concat([rows(), rows().iloc[[4]]]), duplicates="error"),
              r"row 30 .*were paired on row 4 already; keep one"),
    "time": (with_rows(at("timestamp", 6, "yesterday")), r"row 6 .*column 'timestamp', holds a ti"),
    "missing time": (with_rows(at("timestamp", 6, None)), r"row 6 .*'timestamp', holds a time"),
    "split label": (with_rows(rows().assign(split="later")), r"row 0 .*'split', holds an unknown"),
    "nothing": (with_rows(rows().iloc[:0]), "interactions holds no interactions"),
    "few": (with_rows(rows().iloc[:2]), "user .* has 1 interactions and needs 3"),
    "core": (with_rows(rows(), k_core=9), "no interactions left after the 9-core filter"),
    "items without ids": (with_items(items().drop(columns="item_id")),
                          "items has neither a column 'item_id' nor item ids as its index"),
    "items with two": (with_items(items().assign(item="x")), "has the columns item_id and item"),
    "repeated item": (with_items(pd.concat([items(), items().iloc[[2]]])),
                      r"items row 10 .*column 'item_id', repeats item it6; keep one row an item"),
    "unlisted item": (with_items(items().iloc[1:]),
                      r"interactions row \d+ .*'item_id', names item it8, which is not in items"),
    "array alone": (with_items(None, {"smell": smell()}), r"features\['smell'\] is an array, but"),
    "few rows": (with_items(items(), {"smell": smell()[:4]}), "has 4 rows but there are 10 items"),
    "vector": (with_items(items(), {"smell": np.ones(10)}), "must be a matrix of numbers"),
    "words": (with_items(items(), {"smell": np.full((10, 2), "x")}), "must be a matrix of numbers"),
    "holed row": (with_items(items(), {"smell": HOLED}),
                  r"features\['smell'\] row 4 .* holds NaN.* or make its whole row NaN if"),
    "no row": (with_items(items(), {"smell": smell() * np.nan}), "no item that is left has smell"),
    "other ids": (with_items(items(), {"smell": pd.DataFrame(smell())}),
                  "has a row of no item; index it by item id, of which the first is 'it8'"),
    "two rows": (with_items(items(), {"smell": pd.DataFrame(smell(), index=["it1"] * 10)}),
                 "has two rows for item it1; keep one"),
    "column of words": (
        with_items(items(), {"smell": items().set_index("item_id")}),
        "has a column 'title' that holds no numbers; drop it"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_get_a_sentence(fault: str) -> None:
    make, sentence = FAULTS[fault]
    with pytest.raises(DataError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_missing_text_names_the_table_and_its_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVFEDMM_CACHE", str(tmp_path))
    listed = items()
    listed.loc[3, "title"] = None
    with pytest.raises(DataError, match="item it5 has no text: title of items are empty"):
        Dataset.from_pandas(rows(), listed, k_core=0)
