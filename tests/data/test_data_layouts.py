"""The four layouts on small folders, and every fault with its sentence."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from privfedmm.data import DataError, Dataset, load

USERS, ITEMS, EACH = 6, 9, 5


def pairs() -> list[tuple[int, int, int]]:
    """(user, item, time): every user has EACH items, times rising, several users an item."""
    return [(u, (u + k * (1 + u % 2)) % ITEMS, 100 + 10 * k + u)
            for u in range(USERS) for k in range(EACH)]


def features(rows: int) -> np.ndarray:
    return (np.arange(rows * 3).reshape(rows, 3) ** 1.5).astype(np.float16)


def ours(folder: Path, packed: bool = False) -> None:
    text = "user_id,item_id,rating,timestamp\n" + "".join(
        f"user-{u},it{i},3,{t}\n" for u, i, t in pairs())
    if packed:
        (folder / "interactions.csv.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (folder / "interactions.csv").write_text(text)
    # Items in another order than the ids, and one that nobody touched.
    order = [*range(ITEMS - 1, -1, -1), 99]
    (folder / "items.csv").write_text(
        "item_id,title\n" + "".join(f"it{i},Title {i}\n" for i in order))
    np.save(folder / "smell_feat.npy", features(ITEMS + 1))


def recbole(folder: Path) -> None:
    (folder / "toy.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        + "".join(f"{u}\t{i}\t3\t{t}\n" for u, i, t in pairs()))
    (folder / "toy.item").write_text(
        "item_id:token\tmovie_title:token_seq\tclass:token_seq\n"
        + "".join(f"{i}\tTitle {i}\t{chr(97 + i) * 4}\n" for i in range(ITEMS)))


def labels(k: int) -> int:
    return {EACH - 1: 2, EACH - 2: 1}.get(k, 0)


def mmrec(folder: Path) -> None:
    rows = [f"{u}\t{i}\t3\t{t}\t{labels(n % EACH)}\n" for n, (u, i, t) in enumerate(pairs())]
    header = "userID\titemID\trating\ttimestamp\tx_label\n"
    (folder / "toy.inter").write_text(header + "".join(rows))
    np.save(folder / "text_feat.npy", features(ITEMS))
    np.save(folder / "image_feat.npy", features(ITEMS))


def gfmfr(folder: Path) -> None:
    (folder / "inter.csv").write_text(
        "userID,itemID,timestamp\n" + "".join(f"{u},{i},{t}\n" for u, i, t in pairs()))
    np.save(folder / "text_features.npy", features(ITEMS))
    np.save(folder / "image_features.npy", features(ITEMS))


def read(folder: Path, k_core: int = 0) -> Dataset:
    return load(str(folder), k_core=k_core, seed=0)


@pytest.mark.parametrize("write", [ours, recbole, mmrec, gfmfr])
def test_layouts_agree(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path)
    data = read(tmp_path)
    assert (data.num_users, data.num_items, data.num_interactions) == (USERS, ITEMS, USERS * EACH)
    for user in range(USERS):
        items = [i for u, i, _ in pairs() if u == user]
        assert data.item_ids[data.test[user]].removeprefix("it") == str(items[-1])
        assert data.item_ids[data.validation[user]].removeprefix("it") == str(items[-2])
        train = {data.item_ids[i].removeprefix("it") for i in data.train.row(user)}
        assert train == {str(i) for i in items[:-2]}


def test_packed_and_plain_are_the_same_data(tmp_path: Path) -> None:
    for name, packed in (("a", False), ("b", True)):
        (tmp_path / name).mkdir()
        ours(tmp_path / name, packed)
    assert read(tmp_path / "a").sha256 == read(tmp_path / "b").sha256


def test_features_and_titles_follow_their_item(tmp_path: Path) -> None:
    ours(tmp_path)
    data = read(tmp_path)
    order = [*range(ITEMS - 1, -1, -1), 99]
    for index, item in enumerate(data.item_ids):
        number = int(item.removeprefix("it"))
        expected = features(ITEMS + 1)[order.index(number)].astype(np.float32)
        np.testing.assert_array_equal(data.features["smell"][index], expected)
        assert data.items["title"][index] == f"Title {number}"


def test_recbole_names(tmp_path: Path) -> None:
    recbole(tmp_path)
    assert {"title", "genres"} <= set(read(tmp_path).items.columns)


def test_last_interaction_names_the_test_item(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(
        "user_id,item_id\n" + "".join(f"{u},{i}\n" for u, i, _ in pairs()))
    first = {u: i for u, i, _ in reversed(pairs())}
    (tmp_path / "last_interaction.csv").write_text(
        "user_id,item_id\n" + "".join(f"{u},{i}\n" for u, i in first.items()))
    data = read(tmp_path)
    assert [int(data.item_ids[t]) for t in data.test] == [first[u] for u in range(USERS)]
    assert (data.validation >= 0).all() and (data.validation != data.test).all()
    assert "random (split seed 0)" in data.protocol.note


def test_dates_and_a_given_split(tmp_path: Path) -> None:
    rows = [f"{u},{i},2024-01-{1 + n % EACH:02},{['train', 'valid', 'test'][labels(n % EACH)]}\n"
            for n, (u, i, _) in enumerate(pairs())]
    (tmp_path / "interactions.csv").write_text("user_id,item_id,date,split\n" + "".join(rows))
    data = read(tmp_path)
    assert data.protocol.split == "given split"
    assert data.num_interactions == USERS * EACH


def write_csv(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def replace_line(folder: Path, number: int, line: str) -> None:
    file = folder / "interactions.csv"
    lines = file.read_text().splitlines()
    lines[number - 1] = line
    file.write_text("\n".join(lines) + "\n")


def last(folder: Path, rows: str) -> None:
    write_csv(folder, "last_interaction.csv", "user_id,item_id\n" + rows)


def nan_row(folder: Path) -> None:
    matrix = features(ITEMS + 1)
    matrix[4, 1] = np.nan
    np.save(folder / "smell_feat.npy", matrix)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing column": (
        lambda f: write_csv(f, "interactions.csv", "who,item_id\n1,2\n"),
        r"no column for the user .* its columns are who, item_id; .*--columns"),
    "negative id": (lambda f: replace_line(f, 5, "-3,it1,3,7"),
                    "interactions.csv line 5 holds a negative user id"),
    "empty id": (lambda f: replace_line(f, 6, "user-1,,3,7"),
                 "interactions.csv line 6 holds an empty item id"),
    "time": (lambda f: replace_line(f, 4, "user-0,it7,3,yesterday"),
             "interactions.csv line 4 holds a time"),
    "nan feature": (nan_row, r"smell_feat.npy row 4 .* NaN"),
    "few feature rows": (lambda f: np.save(f / "smell_feat.npy", features(4)),
                         "smell_feat.npy has 4 rows but there are 10 items"),
    "vector": (lambda f: np.save(f / "smell_feat.npy", np.ones(10)), "must be a matrix"),
    "no npy": (lambda f: write_csv(f, "smell_feat.npy", "hello"), "not a .npy array"),
    "latin-1": (
        lambda f: (f / "interactions.csv").write_bytes("user_id,item_id\nZo\xe9,1\n".encode(
            "latin-1")), "interactions.csv line 2 is not UTF-8"),
    "unlisted item": (lambda f: replace_line(f, 3, "user-0,it77,3,7"),
                      "interactions.csv line 3: item it77 is not in items.csv"),
    "repeated item": (lambda f: write_csv(f, "items.csv", "item_id,title\na,1\nb,2\na,3\n"),
                      "items.csv line 4 repeats item a"),
    "no item table": (lambda f: (f / "items.csv").unlink(), "no items.csv"),
    "repeated item after a text of three lines": (
        lambda f: write_csv(f, "items.csv", 'item_id,title\na,"1\n2\n3"\nb,2\na,3\n'),
        "items.csv line 6 repeats item a"),
    "empty id in the item table": (lambda f: write_csv(f, "items.csv", "item_id,title\na,1\n,2\n"),
                                   "items.csv line 3 holds an empty item id"),
    "short line": (lambda f: replace_line(f, 4, "user-0"), "line 4 holds an empty item id"),
    "long line": (lambda f: replace_line(f, 4, "user-0,it1,3,4,5"),
                  "interactions.csv line 4 has 5 fields, but 4 columns"),
    "line after blank ones": (
        lambda f: (replace_line(f, 4, "\n"), replace_line(f, 9, ",it1,3,7")),
        "interactions.csv line 9 holds an empty user id"),
    "endless time": (lambda f: replace_line(f, 4, "user-0,it7,3,inf"),
                     "line 4 holds a time that is not a number"),
    "date among numbers": (lambda f: replace_line(f, 4, "user-0,it7,3,2024-01-01"),
                           "line 4 holds a time that is not a number"),
    "number beyond float32": (lambda f: np.save(f / "smell_feat.npy", np.full((10, 2), 1e300)),
                              "smell_feat.npy row 0 .* too large"),
    "no columns": (lambda f: np.save(f / "smell_feat.npy", np.ones((10, 0))), "must be a matrix"),
    "complex": (lambda f: np.save(f / "smell_feat.npy", np.ones((10, 2), complex)),
                "must be a matrix of numbers"),
    "header only": (lambda f: write_csv(f, "interactions.csv", "user_id,item_id,timestamp\n"),
                    "interactions.csv holds no interactions"),
    "plain and packed": (lambda f: ours(f, packed=True), "holds both interactions.csv and"),
    "unknown user": (lambda f: last(f, "user-0,it0\nghost,it1\n"),
                     "last_interaction.csv line 3 names item it1 for user ghost, who has no inter"),
    "pair that is not there": (
        lambda f: last(f, "user-0,it8\n"),
        "last_interaction.csv line 2 names item it8 for user user-0, who has no interaction with"),
    "second layout": (lambda f: gfmfr(f), "fits several layouts: ours, GFMFR"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_get_a_sentence(fault: str, tmp_path: Path) -> None:
    ours(tmp_path)
    break_it, sentence = FAULTS[fault]
    break_it(tmp_path)
    with pytest.raises(DataError, match=sentence):
        read(tmp_path)


def test_faults_of_other_layouts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no data set or folder"):
        read(tmp_path / "absent")
    with pytest.raises(DataError, match="fits no known layout; it holds nothing"):
        read(tmp_path)
    mmrec(tmp_path)
    np.save(tmp_path / "text_feat.npy", features(4))
    with pytest.raises(DataError, match=r"text_feat.npy has 4 rows but the file of image has 9"):
        read(tmp_path)
    (tmp_path / "image_feat.npy").unlink()
    with pytest.raises(DataError, match=r"item \d has no row in text_feat.npy, which has 4 rows"):
        read(tmp_path)


def test_unknown_split_label(tmp_path: Path) -> None:
    write_csv(tmp_path, "interactions.csv", "user_id,item_id,split\na,1,train\na,2,later\n")
    with pytest.raises(DataError, match="line 3 holds an unknown split label"):
        read(tmp_path)


def test_too_few_interactions(tmp_path: Path) -> None:
    write_csv(tmp_path, "interactions.csv",
              "user_id,item_id,timestamp\na,1,1\na,2,2\na,3,3\nb,1,1\nb,2,2\n")
    with pytest.raises(DataError, match="user b has 2 interactions and needs 3"):
        read(tmp_path)
    with pytest.raises(DataError, match="no interactions left after the 9-core filter"):
        read(tmp_path, k_core=9)


def test_two_test_items_for_a_user(tmp_path: Path) -> None:
    ours(tmp_path)
    write_csv(tmp_path, "last_interaction.csv",
              "user_id,item_id\nuser-0,it0\nuser-0,it1\n")
    with pytest.raises(DataError, match="line 3 names a second test item for user user-0"):
        read(tmp_path)


def test_corrupt_archive(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv.gz").write_bytes(gzip.compress(b"")[:10] + b"garbage")
    with pytest.raises(DataError, match=r"interactions\.csv\.gz cannot be read"):
        read(tmp_path)


def test_negative_k_core(tmp_path: Path) -> None:
    ours(tmp_path)
    with pytest.raises(DataError, match="cannot be -2"):
        read(tmp_path, k_core=-2)


def test_trimmed_test_items_are_counted_in_the_note(tmp_path: Path) -> None:
    ours(tmp_path)
    first = {u: i for u, i, _ in reversed(pairs()) if u < 4}
    last(tmp_path, "".join(f"user-{u},{'gone' if u == 0 else f'it{i}'}\n"
                           for u, i in first.items()))
    data = read(tmp_path)
    assert (data.test < 0).tolist() == [True, False, False, False, True, True]
    assert "1 users have no test item: theirs is not among" in data.protocol.note
    assert "2 users have no test item: none is named" in data.protocol.note


@pytest.mark.parametrize("label", ["train", "valid"])
def test_a_given_split_without_test_items_is_refused(label: str, tmp_path: Path) -> None:
    write_csv(tmp_path, "interactions.csv", "user_id,item_id,split\n" + "".join(
        f"{u},{i},{label if n % EACH == 4 else 'train'}\n"
        for n, (u, i, _) in enumerate(pairs())))
    with pytest.raises(DataError, match=r"interactions.csv: no interaction .* is marked test"):
        read(tmp_path)


def test_an_item_that_is_only_further_held_out_is_not_in_the_data(tmp_path: Path) -> None:
    mmrec(tmp_path)
    file = tmp_path / "toy.inter"
    np.save(tmp_path / "text_feat.npy", features(ITEMS + 1))
    np.save(tmp_path / "image_feat.npy", features(ITEMS + 1))
    file.write_text(file.read_text() + f"0\t{ITEMS}\t3\t1\t2\n")  # an earlier test item
    data = read(tmp_path)
    assert str(ITEMS) not in data.item_ids
    assert len(data.items) == len(data.features["text"]) == data.num_items == ITEMS
    assert "1 further held-out" in data.protocol.note


def test_marks_and_byte_order(tmp_path: Path) -> None:
    """A quotation mark in a tab-separated title; a byte order mark before a header."""
    recbole(tmp_path)
    file = tmp_path / "toy.item"
    file.write_text(file.read_text().replace("Title 3", '"Title 3'))
    np.save(tmp_path / "text_feat.npy", features(ITEMS))
    data = read(tmp_path)
    assert data.items.loc[data.item_ids == "3", "title"].item() == '"Title 3'
    assert "text_feat.npy not used" in data.protocol.note
    (tmp_path / "b").mkdir()
    ours(tmp_path / "b")
    table = tmp_path / "b" / "interactions.csv"
    plain = read(tmp_path / "b").sha256
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes() + b"\n\n")
    assert read(tmp_path / "b").sha256 == plain


def test_the_folder_one_is_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load(".", k_core=0, seed=0).name == tmp_path.name
