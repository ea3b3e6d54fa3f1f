"""A data set in parts is the data set: the catalogue and the nodes' rows, each read alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from privfedmm.data import (
    Catalogue,
    DataError,
    Dataset,
    Encoding,
    Shard,
    load,
    read_catalogue,
    read_shard,
    shard_of,
)
from privfedmm.encoders import EncoderSettings

ITEMS, USERS, EACH = 24, 10, 8
SIZES = (4, 3, 3)


def pairs() -> list[tuple[str, str, int]]:
    rng = np.random.default_rng(11)
    return [(f"u{user}", f"i{item}", time) for user in range(USERS)
            for time, item in enumerate(rng.choice(ITEMS, EACH, replace=False))]


def write_items(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    order = np.random.default_rng(12).permutation(ITEMS)
    (folder / "items.csv").write_text("item_id\n" + "".join(f"i{n}\n" for n in order))
    matrix = np.random.default_rng(13).normal(size=(ITEMS, 3)).astype(np.float32)
    np.save(folder / "smell_feat.npy", matrix)
    np.save(folder / "smell_mask.npy", np.arange(ITEMS) != 5)


def write_rows(folder: Path, users: range) -> None:
    folder.mkdir(exist_ok=True)
    wanted = {f"u{user}" for user in users}
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "".join(
        f"{u},{i},{t}\n" for u, i, t in pairs() if u in wanted))


@pytest.fixture
def whole(tmp_path: Path) -> Dataset:
    write_items(tmp_path / "whole")
    write_rows(tmp_path / "whole", range(USERS))
    data = load(str(tmp_path / "whole"), k_core=0, seed=0)
    assert data.num_items == ITEMS and data.present
    return data


def how(tmp_path: Path) -> Encoding:
    return Encoding(EncoderSettings(), tmp_path / "cache")


def test_catalogue_and_rows_read_apart_are_those_of_the_whole(
    whole: Dataset, tmp_path: Path
) -> None:
    write_items(tmp_path / "catalogue")
    catalogue = read_catalogue(tmp_path / "catalogue", how(tmp_path))
    np.testing.assert_array_equal(catalogue.items, whole.item_ids)
    np.testing.assert_array_equal(catalogue.features["smell"], whole.features["smell"])
    np.testing.assert_array_equal(catalogue.present["smell"], whole.present["smell"])
    first = 0
    for number, size in enumerate(SIZES):
        users = range(first, first + size)
        write_rows(tmp_path / str(number), users)
        read = read_shard(tmp_path / str(number), catalogue.items, 0)
        cut = shard_of(whole, np.array(users))
        _same(read, cut)
        data = catalogue.with_rows(USERS, first, read)
        assert data.train.users == USERS
        for user in range(USERS):
            wanted = whole.train.row(user) if user in users else np.empty(0)
            np.testing.assert_array_equal(data.train.row(user), wanted)
        held = np.isin(np.arange(USERS), users)
        np.testing.assert_array_equal(data.test, np.where(held, whole.test, -1))
        np.testing.assert_array_equal(data.validation, np.where(held, whole.validation, -1))
        first += size


def _same(one: Shard, other: Shard) -> None:
    np.testing.assert_array_equal(one.user_ids, other.user_ids)
    np.testing.assert_array_equal(one.train.indptr, other.train.indptr)
    np.testing.assert_array_equal(one.train.indices, other.train.indices)
    np.testing.assert_array_equal(one.validation, other.validation)
    np.testing.assert_array_equal(one.test, other.test)
    assert one.train_age is not None and other.train_age is not None
    np.testing.assert_array_equal(one.train_age, other.train_age)


def test_rows_may_come_in_another_layout(whole: Dataset, tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "mine.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\n"
        + "".join(f"{u}\t{i}\t{t}\n" for u, i, t in pairs()))
    _same(read_shard(tmp_path / "rec", whole.item_ids, 0), shard_of(whole, np.arange(USERS)))


def test_the_catalogues_hash_is_of_what_is_public(whole: Dataset, tmp_path: Path) -> None:
    write_items(tmp_path / "a")
    one = read_catalogue(tmp_path / "a", how(tmp_path))
    assert one.sha256 == read_catalogue(tmp_path / "a", how(tmp_path)).sha256
    assert one.sha256 != Catalogue.of(whole).sha256 == whole.sha256
    matrix = np.load(tmp_path / "a" / "smell_feat.npy")
    matrix[7, 1] += 1
    np.save(tmp_path / "a" / "smell_feat.npy", matrix)
    assert one.sha256 != read_catalogue(tmp_path / "a", how(tmp_path)).sha256


def test_faults_are_told(whole: Dataset, tmp_path: Path) -> None:
    write_items(tmp_path / "a")
    write_rows(tmp_path / "b", range(4))
    with pytest.raises(DataError, match=r"holds no items\.csv"):
        read_catalogue(tmp_path / "b", how(tmp_path))
    with pytest.raises(DataError, match="stay with their nodes"):
        read_catalogue(tmp_path / "whole", how(tmp_path))
    with pytest.raises(DataError, match="line 3: item i"):
        read_shard(tmp_path / "b", np.array([pairs()[0][1]]), 0)
    (tmp_path / "a" / "items.csv").write_text("item_id\n")
    (tmp_path / "a" / "smell_feat.npy").unlink()
    (tmp_path / "a" / "smell_mask.npy").unlink()
    with pytest.raises(DataError, match="lists no items"):
        read_catalogue(tmp_path / "a", how(tmp_path))
    (tmp_path / "b" / "interactions.csv").write_text(
        "user_id,item_id\nu0,i1\nu0,i2\n")
    with pytest.raises(DataError, match="user u0 has 2 interactions and needs 3"):
        read_shard(tmp_path / "b", whole.item_ids, 0)
