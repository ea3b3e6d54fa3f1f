"""From raw interactions to a data set: k-core filter, split, indices, content hash."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from privfedmm.data.raw import Raw
from privfedmm.data.types import DataError, Dataset, Protocol, Rows

TIES = "interactions at the same time keep the order of the file"


def k_core(frame: pd.DataFrame, k: int) -> pd.DataFrame:
    """Drop users and items with fewer than k interactions until none is left; k = 0 keeps all."""
    while k > 0:
        size = len(frame)
        frame = frame[frame.groupby("item")["item"].transform("size") >= k]
        frame = frame[frame.groupby("user")["user"].transform("size") >= k]
        if len(frame) == size:
            break
    return frame


def prepare(raw: Raw, k: int, seed: int) -> Dataset:
    """Filter, split and index. Raises DataError for what cannot be evaluated."""
    frame = k_core(raw.frame.reset_index(drop=True), k)
    if frame.empty:
        raise DataError(f"{raw.source} has no interactions left after the {k}-core filter; "
                        "lower --k-core")
    sizes = frame.groupby("user").size()
    if (sizes < 3).any():
        user = sizes.index[sizes < 3][0]
        raise DataError(f"{raw.source}: user {user} has {sizes[user]} interactions and needs 3 "
                        "(training, validation, test); set --k-core 3 or more, or drop the user")
    frame = frame.copy()
    users, frame["u"] = _index(frame["user"])
    items, frame["i"] = _index(frame["item"])
    frame["held"], split, note = _split(frame, raw, users, seed)
    kept = frame[frame["held"] != "dropped"]
    train = kept[kept["held"] == "train"]
    if (np.bincount(train["u"], minlength=len(users)) == 0).any():
        empty = int(np.flatnonzero(np.bincount(train["u"], minlength=len(users)) == 0)[0])
        raise DataError(f"{raw.source}: user {users[empty]} has no training interaction in the "
                        "given split; move one there or drop the user")
    rows = Rows.from_pairs(train["u"].to_numpy(), train["i"].to_numpy(), len(users))
    held = {}
    for name in ("validation", "test"):
        part = kept[kept["held"] == name]
        target = np.full(len(users), -1, dtype=np.int64)
        target[part["u"].to_numpy()] = part["i"].to_numpy()
        held[name] = target
    features = {}
    for modality, (ids, matrix) in raw.features.items():
        place = pd.Series(np.arange(len(ids)), index=ids)
        features[modality] = matrix[place.loc[items].to_numpy()]
    return Dataset(
        name=raw.name,
        user_ids=users,
        item_ids=items,
        train=rows,
        validation=held["validation"],
        test=held["test"],
        features=features,
        items=raw.items.loc[items].reset_index(names="item_id"),
        truth=None,
        protocol=Protocol(k, split, TIES, " ".join([note, *raw.notes]).strip()),
        sha256=content_hash(users, items, rows, held, features),
    )


def content_hash(
    users: np.ndarray,
    items: np.ndarray,
    train: Rows,
    held: dict[str, np.ndarray],
    features: dict[str, np.ndarray],
) -> str:
    """SHA-256 over ids, split and features: two equal hashes are the same experiment's data."""
    digest = hashlib.sha256()
    digest.update("\n".join([*users.tolist(), "", *items.tolist()]).encode())
    for array in (train.indptr, train.indices, held["validation"], held["test"]):
        digest.update(np.ascontiguousarray(array).tobytes())
    for name in sorted(features):
        digest.update(name.encode() + np.ascontiguousarray(features[name]).tobytes())
    return digest.hexdigest()


def _index(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Ids in order (numbers by value, text by letter), and each row's index."""
    ids = column.unique().astype(str)
    numeric = all(i.isdigit() for i in ids)
    order = sorted(ids, key=int) if numeric else sorted(ids)
    ids = np.array(order)
    place = pd.Series(np.arange(len(ids)), index=ids)
    return ids, place.loc[column].to_numpy()


def _split(
    frame: pd.DataFrame, raw: Raw, users: np.ndarray, seed: int
) -> tuple[np.ndarray, str, str]:
    if "split" in frame and set(frame["split"]) >= {"train", "test"}:
        return _given_split(frame)
    if raw.given_test is not None:
        return _given_test(frame, raw.given_test, seed)
    if "time" in frame:
        return _from_last(frame, frame["time"].to_numpy()), "leave-one-out by time", ""
    shuffled = np.random.default_rng([seed, 1]).random(len(frame))
    return (
        _from_last(frame, shuffled),
        "leave-one-out at random (seeded): the data has no times",
        f"split seed {seed}",
    )


def _from_last(frame: pd.DataFrame, key: np.ndarray) -> np.ndarray:
    """Last by key = test, one before = validation; equal keys in file order."""
    order = np.lexsort((np.arange(len(frame)), key, frame["u"].to_numpy()))
    back = frame.iloc[order].groupby("u").cumcount(ascending=False).to_numpy()
    held = np.full(len(frame), "train", dtype=object)
    held[order[back == 0]] = "test"
    held[order[back == 1]] = "validation"
    return held


def _given_split(frame: pd.DataFrame) -> tuple[np.ndarray, str, str]:
    """The file's own split; of several held-out items of a user the last one is the target."""
    held = frame["split"].to_numpy(dtype=object).copy()
    time = frame["time"].to_numpy() if "time" in frame else np.zeros(len(frame))
    order = np.lexsort((np.arange(len(frame)), time, frame["u"].to_numpy()))
    dropped = 0
    for name in ("validation", "test"):
        part = order[held[order] == name]
        later = frame.iloc[part].groupby("u").cumcount(ascending=False).to_numpy() > 0
        held[part[later]] = "dropped"
        dropped += int(later.sum())
    note = f"{dropped} further held-out interactions left out: one target a user."
    note = note if dropped else ""
    return held, "given split", note


def _given_test(
    frame: pd.DataFrame, given: pd.DataFrame, seed: int
) -> tuple[np.ndarray, str, str]:
    """Named test items; validation = the latest of the rest, or a random one without times."""
    twice = given.duplicated("user")
    if twice.any():
        raise DataError(f"last_interaction.csv line {given[twice].iloc[0]['line']} names a second "
                        f"test item for user {given[twice].iloc[0]['user']}; keep one")
    pairs = pd.MultiIndex.from_frame(frame[["user", "item"]])
    wanted = pd.MultiIndex.from_frame(given[["user", "item"]])
    is_test = pairs.isin(wanted)
    missing = ~wanted.isin(pairs)
    unknown = missing & given["user"].isin(frame["user"]).to_numpy()
    # A pair that was filtered away leaves its user without a test item, which the note says.
    held = np.full(len(frame), "train", dtype=object)
    held[is_test] = "test"
    timed = "time" in frame
    key = frame["time"].to_numpy() if timed else np.random.default_rng([seed, 2]).random(len(frame))
    rest = np.flatnonzero(~is_test)
    order = rest[np.lexsort((rest, key[rest], frame["u"].to_numpy()[rest]))]
    last = frame.iloc[order].groupby("u").cumcount(ascending=False).to_numpy() == 0
    held[order[last]] = "validation"
    how = "latest" if timed else f"random (split seed {seed})"
    note = f"validation = {how} remaining item of each user."
    if unknown.any():
        note += (f" {int(unknown.sum())} users have no test item: theirs is not among the kept "
                 "interactions.")
    return held, "leave-one-out, test item given by last_interaction.csv", note
