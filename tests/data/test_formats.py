"""The same rows in every format that people have them in are the same data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import privfedmm as pf
from privfedmm.base.errors import UserError
from privfedmm.data import DataError, Dataset, load
from privfedmm.data.raw import Reading
from tests.small_tables import (
    ITEMS,
    Write,
    delimited,
    jsonl,
    packed,
    parquet,
    rows,
    save_to_disk,
    written,
)


def reference() -> Dataset:
    return Dataset.from_pandas(rows(), k_core=0)


FILES: dict[str, Write] = {
    "commas": written("x.csv", delimited(",")),
    "semicolons": written("x.csv", delimited(";")),
    "tabs": written("x.tsv", delimited("\t")),
    "bars": written("x.txt", delimited("|")),
    "double colons with names": written("x.dat", delimited("::")),
    "gzip": written("x.csv.gz", packed(delimited(","))),
    "gzip under another name": written("x.csv", packed(delimited(","))),
    "byte order mark": written("x.csv", "\ufeff" + delimited(",")),
    "windows lines": written("x.csv", delimited(",").replace("\n", "\r\n")),
    "old mac lines": written("x.csv", delimited(",").replace("\n", "\r")),
    "quoted": written("x.csv", '"user_id","item_id","rating","timestamp"\n' + "\n".join(
        ",".join(f'"{v}"' for v in row) for row in rows().itertuples(index=False)) + "\n"),
    "blanks after commas": written("x.csv", delimited(", ", "user_id item_id rating timestamp")),
    "trailing separator": written("x.csv", delimited(",").replace("\n", ",\n")),
    "trailing separator below the header": written("x.csv", delimited(",").replace(
        "\n", ",\n").replace("timestamp,", "timestamp", 1)),
    "RecBole": written("x.inter", delimited(
        "\t", "user_id:token item_id:token rating:float timestamp:float")),
    "MMRec": written("x.inter", delimited("\t", "userID itemID rating timestamp")),
    "GFMFR": written("inter.csv", delimited(",", "userId itemId rating timestamp")),
    "ratings.csv": written("ratings.csv", delimited(",", "userId movieId rating timestamp")),
    "ratings.dat": written("ratings.dat", delimited("::", None)),
    "u.data": written("u.data", delimited("\t", None)),
    "JSON lines": written("x.jsonl", jsonl()),
    "Amazon 2014": written("reviews.json.gz", packed(jsonl(
        user_id="reviewerID", item_id="asin", rating="overall", timestamp="unixReviewTime"))),
    "Amazon 2023": written("x.jsonl", jsonl(item_id="parent_asin")),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("alone", [True, False])
def test_a_file_and_its_folder_are_the_same_data(name: str, alone: bool, tmp_path: Path) -> None:
    path = FILES[name](tmp_path)
    data = load(str(path if alone else tmp_path), k_core=0, seed=0)
    expected = reference()
    assert data.sha256 == expected.sha256 and data.read_sha256 == expected.read_sha256
    assert data.protocol.split == "leave-one-out by time"
    assert {"007", "7"} <= set(data.user_ids)


def test_parquet_and_datasets_on_disk(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="parquet and Arrow need the extra `tables`")
    expected = reference()
    parquet(tmp_path / "x.parquet")
    save_to_disk(tmp_path / "whole", rows())
    for place in ("x.parquet", "whole"):
        data = load(str(tmp_path / place), k_core=0, seed=0)
        assert data.sha256 == expected.sha256 and data.read_sha256 == expected.read_sha256
    # Whole numbers and moments instead of text, as tools write them.
    typed = rows().assign(
        user_id=np.arange(len(rows())) % 6, item_id=rows()["item_id"].astype(int),
        timestamp=pd.to_datetime(rows()["timestamp"], unit="s", utc=True)).drop_duplicates(
            ["user_id", "item_id"])
    parquet(tmp_path / "typed.parquet", typed)
    there = load(str(tmp_path / "typed.parquet"), k_core=0, seed=0)
    assert there.sha256 == Dataset.from_pandas(typed, k_core=0).sha256


def test_parts_of_a_dataset_on_disk_are_the_given_split(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="data sets on disk need the extra `tables`")
    table = rows().sort_values("timestamp", kind="stable")
    back = table.groupby("user_id").cumcount(ascending=False)
    parts = {"train": table[back > 1], "validation": table[back == 1], "test": table[back == 0]}
    (tmp_path / "set").mkdir()
    for name, part in parts.items():
        save_to_disk(tmp_path / "set" / name, part)
    (tmp_path / "set" / "dataset_dict.json").write_text(json.dumps({"splits": list(parts)}))
    data = load(str(tmp_path / "set"), k_core=0, seed=0)
    assert data.protocol.split == "given split" and data.sha256 == reference().sha256
    (tmp_path / "set" / "test" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(DataError, match=r"test/state\.json that it has the file .* not there"):
        load(str(tmp_path / "set"), k_core=0, seed=0)


def test_an_extra_that_is_absent_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from privacy import extras

    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ImportError, match=r"x\.parquet needs the package pyarrow.*\[tables\]"):
        load(str(tmp_path / "x.parquet"), k_core=0, seed=0)


FAULTS: dict[str, tuple[Write, str]] = {
    "an ending of nothing": (written("x.docx", "hello"), r"x\.docx is no table .* end in one of"),
    "nothing in it": (written("x.csv", ""), r"x\.csv is empty"),
    "one column": (written("x.csv", "user_id\n1\n2\n"), r"x\.csv has no column for the item"),
    "prose": (written("x.txt", "It was night.\nNo one stirred, or so.\n"),
              "has none of the separators commas|has none of the separators double"),
    "data in the first line": (
        written("x.csv", "A2C,0321,5.0,1341100800\nA3C,0322,4.0,1341100801\n"),
        "looks like data and not like names .* --columns user=1,item=2,rating=3,time=4"),
    "a name twice": (written("x.csv", "user_id,item_id,item_id\n1,2,3\n"),
                     r"x\.csv line 1 names two columns 'item_id'"),
    "a NUL in an id": (written("x.csv", "user_id,item_id\n1,2\n1\0,3\n"),
                       r"x\.csv line 3 holds a user id with a NUL"),
    "names that are not UTF-8": (written("x.csv", "Zo\u00e9,user_id,item_id\n1,2,3\n".encode(
        "latin-1")), r"x\.csv line 1 is not UTF-8"),
    "broken JSON": (written("x.jsonl", jsonl() + '{"user_id": \n'), r"x\.jsonl line 31 is no JSON"),
    "a JSON array": (written("x.json", "[" + ",\n".join(jsonl().splitlines()) + "]"),
                     r"x\.json line 1 is no JSON"),
    "JSON numbers": (written("x.jsonl", "1\n2\n"), r"x\.jsonl line 1 is no JSON object"),
    "ids with fractions": (written("x.jsonl", '{"user_id": 1.5, "item_id": 2}\n'),
                           r"x\.jsonl line 1 holds an id that is neither text nor"),
    "half a gzip": (written("x.csv.gz", packed(delimited(","))[:60]), r"x\.csv\.gz cannot be read"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_get_a_sentence(fault: str, tmp_path: Path) -> None:
    write, sentence = FAULTS[fault]
    with pytest.raises(DataError, match=sentence) as caught:
        load(str(write(tmp_path)), k_core=0, seed=0)
    assert "\n" not in str(caught.value)


def test_damaged_parquet_gets_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs the extra `tables`")
    for name in ("x.parquet", "x.arrow"):
        (tmp_path / name).write_bytes(b"hello, this is no such file")
        with pytest.raises(DataError, match=f"{name} cannot be read as"):
            load(str(tmp_path / name), k_core=0, seed=0)


def test_columns_by_number_where_there_are_no_names(tmp_path: Path) -> None:
    path = written("ratings_Beauty.csv", delimited(",", None))(tmp_path)
    data = pf.load(path, k_core=0, columns="user=1,item=2,rating=3,time=4")
    assert data.sha256 == reference().sha256
    with pytest.raises(UserError, match=r"no column '9', which --columns item=9"):
        pf.load(path, k_core=0, columns={"user": "1", "item": "9"})


def test_movielens_titles(tmp_path: Path) -> None:
    """Titles of .dat hold colons and Latin-1, u.item has flags for genres."""
    films = [f"{i}::Film: {i} (1995)::Drama|Comedy" for i in range(ITEMS)]
    (tmp_path / "dat").mkdir()
    (tmp_path / "dat" / "ratings.dat").write_text(delimited("::", None))
    (tmp_path / "dat" / "movies.dat").write_bytes("\n".join(films).replace(
        "Film: 3", "Caf\u00e9: 3").encode("latin-1"))
    (tmp_path / "u").mkdir()
    (tmp_path / "u" / "u.data").write_text(delimited("\t", None))
    flags = "|".join("1" if n in (5, 8) else "0" for n in range(19))
    (tmp_path / "u" / "u.item").write_bytes("\n".join(
        f"{i}|Film: {i} (1995)|01-Jan-1995||http://x|{flags}" for i in range(ITEMS)).replace(
            "Film: 3", "Caf\u00e9: 3").encode("latin-1"))
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "ratings.csv").write_text(delimited(",", "userId movieId rating timestamp"))
    (tmp_path / "csv" / "movies.csv").write_text("movieId,title,genres\n" + "".join(
        f'{i},"Film: {i} (1995)",Comedy|Drama\n' for i in range(ITEMS)).replace(
            "Film: 3", "Caf\u00e9: 3"))
    (tmp_path / "csv" / "tags.csv").write_text("userId,movieId,tag,timestamp\n7,1,dull,1\n")
    for kind, genres in (("dat", "Drama Comedy"), ("u", "Comedy Drama"), ("csv", "Comedy Drama")):
        data = load(str(tmp_path / kind), k_core=0, seed=0)
        assert data.items["title"][3] == "Caf\u00e9: 3 (1995)"
        assert set(data.items["genres"]) == {genres}
        assert "text" in data.features
        # The films are a catalogue, as a budget needs one.
        assert load(str(tmp_path / kind), k_core=0, seed=0, unit="user").public_items


def test_two_tables_in_a_folder_are_a_question(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(delimited(","))
    with pytest.raises(DataError, match=r"several tables .*\(a.csv, b.csv\).*--dataset .*a\.csv"):
        load(str(tmp_path), k_core=0, seed=0)


def test_a_folder_whose_names_are_not_known_lists_them(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(delimited(",", "who what rating timestamp"))
    with pytest.raises(DataError, match=r"log.csv has the columns who, what.*--columns user=NAME"):
        load(str(tmp_path), k_core=0, seed=0)
    data = load(str(tmp_path), k_core=0, seed=0, reading=Reading({"user": "who", "item": "what"}))
    assert data.sha256 == reference().sha256


def test_a_file_is_read_without_what_lies_beside_it(tmp_path: Path) -> None:
    path = written("interactions.csv", delimited(","))(tmp_path)
    np.save(tmp_path / "text_feat.npy", np.eye(ITEMS))
    assert load(str(tmp_path), k_core=0, seed=0).features
    assert not load(str(path), k_core=0, seed=0).features
    with pytest.raises(DataError, match=r"items\.csv"):
        load(str(path), k_core=0, seed=0, unit="user")


