"""From raw interactions to a data set: k-core filter, indices, content hash.

Here the rows say which items there are. What a budget asks for is in `over_catalogue`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from privfedmm.data.kept_features import features_of, left_out
from privfedmm.data.raw import Line, Raw
from privfedmm.data.raw.times import tied_last
from privfedmm.data.split import FURTHER, names_held_out, split_of
from privfedmm.data.summary import Summary, core_line, row_lines
from privfedmm.data.types import DataError, Dataset, Protocol, Rows, SplitBy

_NEARLY_ALL = 0.9  # of the users
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


def some_users(raw: Raw, count: int, seed: int) -> Raw:
    """Keep the interactions of `count` random users, or of all where there are no more."""
    every = raw.frame["user"].unique() if raw.users is None else raw.users
    users = np.sort(every.astype(str))
    if count >= len(users):
        return raw
    drawn = np.random.default_rng([seed, 3]).choice(users, count, replace=False)
    kept = set(drawn.tolist())
    given = raw.given_test
    told = f"{count} of {len(users)} users, drawn at random (split seed {seed})"
    return replace(
        raw,
        frame=raw.frame[raw.frame["user"].isin(kept)],
        given_test=None if given is None else given[given["user"].isin(kept)],
        users=None if raw.users is None else drawn,
        notes=[*raw.notes, f"{told}."],
        lines=[*raw.lines, Line("filter", told)],
    )


@dataclass(frozen=True)
class Split:
    """A split holds interactions with indices for ids.

    users [n], items [m]: the ids in the order of their indices. held: validation and test [n]
    int64, each an item or -1. age, further: as in `Dataset`. name, note: the split in words.
    """

    users: np.ndarray
    items: np.ndarray
    train: Rows
    held: dict[str, np.ndarray]
    age: np.ndarray | None
    name: str
    note: str
    further: dict[str, Rows]

    def line(self, held: Mapping[str, np.ndarray]) -> Line:
        """Return the split in words; held: validation and test targets [users]."""
        counts = {"train": len(self.train.indices),
                  **{name: int((target >= 0).sum()) for name, target in held.items()}}
        parts = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        return Line("split", self.name, "; ".join(t for t in (parts, self.note) if t), counts)


def asked_of(raw: Raw, by: SplitBy) -> Raw:
    """Return what a loader read, without the data's own split where `by` is leave-one-out.

    Raises DataError where `by` is given and the data has none.
    """
    if by == "given" and not names_held_out(raw):
        raise DataError(f"split: {raw.source} names no held-out items; give it a column split "
                        "(train, validation, test), or set split to leave-one-out")
    if by != "leave-one-out" or not names_held_out(raw):
        return raw
    return replace(raw, frame=raw.frame.drop(columns="split", errors="ignore"), given_test=None,
                   notes=[*raw.notes, "the data's own split is not used, as was asked for."])


def prepare(raw: Raw, k: int, seed: int, by: SplitBy = "auto") -> Dataset:
    """Filter, split and index what a loader read.

    by: who says what is held out. "given": the data, and every held-out item is a target;
    "leave-one-out": the times, whatever the data says; "auto": the data where it does, with one
    target a user, else the times. Raises DataError for what cannot be evaluated.
    """
    whole, raw = raw, asked_of(raw, by)
    if k < 0:
        raise DataError(f"the k-core filter cannot be {k}; give 0 for none, or a positive number")
    refuse_empty(raw)
    before = raw.frame.reset_index(drop=True)
    frame = k_core(before, k)
    if frame.empty:
        raise DataError(f"{raw.source} has no interactions left after the {k}-core filter; "
                        "lower --k-core")
    every = by == "given"
    frame, raw = timed(frame, with_lines(raw, core_line(k, _sizes(before), _sizes(frame))))
    split = split_and_index(frame, raw, seed, every=every)
    return dataset_of(raw, split, split.held, k, [split.note],
                      read_hash(raw, k, seed, every=every and bool(split.further)),
                      every_target=every,
                      further=split.further, resplit=resplit_of(partial(prepare, whole, k, seed),
                                                                whole))


def resplit_of(
    again: Callable[[SplitBy], Dataset], raw: Raw
) -> Callable[[SplitBy], Dataset] | None:
    """Return the way to another split of the same rows; None where there is but one."""
    return again if names_held_out(raw) else None


def with_lines(raw: Raw, *lines: Line) -> Raw:
    """Return the same data with more lines of the summary."""
    return replace(raw, lines=[*raw.lines, *lines])


def _sizes(frame: pd.DataFrame) -> tuple[int, int, int]:
    return frame["user"].nunique(), frame["item"].nunique(), len(frame)


def timed(frame: pd.DataFrame, raw: Raw) -> tuple[pd.DataFrame, Raw]:
    """Return a filtered frame and its `Raw` without their times where these tell nothing.

    They do not where the last two interactions of nearly all users are of one time: which of them
    is held out would be decided by the order of the file. Not for data under a budget: it asks
    all rows at once.
    """
    if "time" not in frame or "split" in frame or raw.given_test is not None:
        return frame, raw
    tied = tied_last(frame)
    users = frame["user"].nunique()
    count = int(tied.sum())
    if not count:
        return frame, raw
    told = f"{count:,} of {users:,} users have their last two interactions at one time"
    values = {"tied_users": count}
    if count < _NEARLY_ALL * users:
        return frame, with_lines(
            raw, Line("split", "", f"{told}: those keep the order of the file", values))
    return frame.drop(columns="time"), replace(
        with_lines(raw, Line("times", "", f"not used: {told}", values)),
        frame=raw.frame.drop(columns="time"), untimed=told)


def dataset_of(
    raw: Raw, split: Split, held: Mapping[str, np.ndarray], k: int, notes: Sequence[str],
    read: str, **more: Any,
) -> Dataset:
    """Make the data set of a split. Raises DataError for features that do not fit.

    held: validation and test targets [users]. notes: of the protocol, before the reader's own.
    read: the hash of what was read. more: further fields of the data set.
    """
    users, items = split.users, split.items
    further = more.get("further", {})
    features, present = features_of(raw, items)
    lines = [*raw.lines, split.line(held)]
    for name, matrix in features.items():
        lines += row_lines(name, matrix, present.get(name))
    lines += left_out(raw, features)
    if not features:
        lines.append(Line("content", "no features of items"))
    return Dataset(
        name=raw.name,
        user_ids=users,
        item_ids=items,
        train=split.train,
        validation=held["validation"],
        test=held["test"],
        features=features,
        items=raw.items.loc[items].reset_index(names="item_id"),
        truth=None,
        protocol=Protocol(k, split.name, TIES, " ".join(t for t in (*notes, *raw.notes) if t),
                          names_held_out(raw)),
        sha256=content_hash(users, items, split.train, dict(held), features, present, further),
        feature_notes={n: note for n, note in raw.feature_notes.items() if n in features},
        present=present,
        train_age=split.age,
        read_sha256=read,
        summary=Summary.of(lines, private=bool(more.get("public_items"))),
        **more,
    )


def split_and_index(
    frame: pd.DataFrame, raw: Raw, seed: int, items: np.ndarray | None = None,
    least: int | None = None, every: bool = False,
) -> Split:
    """Split a filtered frame and give its ids numbers.

    items: the ids in the order of their numbers; None for those that occur in training or as a
    target. every: whether all held-out items are targets, not the last of a user alone. least: with
    it no user's rows are split by what others have: who has fewer rows than that trains on all of
    them, and users who are listed without rows are there; None refuses users who cannot be
    evaluated. Raises DataError for what cannot be evaluated.
    """
    sizes = frame.groupby("user").size()
    if least is None and (sizes < 3).any():
        user = sizes.index[sizes < 3][0]
        raise DataError(f"{raw.source}: user {user} has {sizes[user]} interactions and needs 3 "
                        "(training, validation, test); set --k-core 3 or more, or drop the user")
    frame = frame.copy()
    if least is None or raw.users is None:
        users, frame["u"] = index_ids(frame["user"])
    else:
        users, _ = index_ids(pd.Series(raw.users))
        frame["u"] = pd.Series(np.arange(len(users)), index=users).loc[frame["user"]].to_numpy()
    frame["held"], name, note = split_of(frame, raw, seed, apart=least is not None)
    if least is not None:
        frame.loc[frame["user"].map(sizes) < least, "held"] = "train"
    last = ~frame["held"].str.startswith(FURTHER)
    if items is None:
        # After the split: an item that nobody trains on and nobody is judged by is not in the data.
        items, _ = index_ids(frame.loc[last | every, "item"])
    kept = frame[last | frame["item"].isin(items)].copy()
    kept["i"] = pd.Series(np.arange(len(items)), index=items).loc[kept["item"]].to_numpy()
    train = kept[kept["held"] == "train"]
    if least is None and (np.bincount(train["u"], minlength=len(users)) == 0).any():
        empty = int(np.flatnonzero(np.bincount(train["u"], minlength=len(users)) == 0)[0])
        raise DataError(f"{raw.source}: user {users[empty]} has no training interaction in the "
                        "given split; move one there or drop the user")
    rows = Rows.from_pairs(train["u"].to_numpy(), train["i"].to_numpy(), len(users))
    age = None
    if "time" in train:
        # Ties keep the order of the file, as in the split.
        timed = train.sort_values("time", kind="stable")
        ages = timed.groupby("u").cumcount(ascending=False).sort_index()
        order = np.lexsort((train["i"], train["u"]))
        age = ages.loc[train.index].to_numpy()[order].astype(np.int32)
    held, further = {}, {}
    for part_name in ("validation", "test"):
        part = kept[kept["held"] == part_name]
        target = np.full(len(users), -1, dtype=np.int64)
        target[part["u"].to_numpy()] = part["i"].to_numpy()
        held[part_name] = target
        part = kept[kept["held"] == FURTHER + part_name]
        if len(part):
            further[part_name] = Rows.from_pairs(
                part["u"].to_numpy(), part["i"].to_numpy(), len(users))
    return Split(users, items, rows, held, age, name, note, further)


def refuse_empty(raw: Raw) -> None:
    """Refuse a file without interactions. Raises DataError for one."""
    if raw.frame.empty:
        raise DataError(f"{raw.source} holds no interactions; add some lines below the header")


def read_hash(
    raw: Raw, k: int, seed: int, apart: bool = False, every: bool = False
) -> str:
    """Return the SHA-256 over rows and features as they were read, the k of the core and the seed.

    Two equal hashes are the same data before items and users were chosen from it, so that figures
    over the same core compare. Features of items with rows count, by name: a catalogue may be
    longer. apart: as for `split_of`; every: as for `split_and_index`; where
    they decide the targets of tests, it is another hash.
    """
    columns = [c for c in ("user", "item", "time", "split") if c in raw.frame]
    drawn = len(columns) == 2 and raw.given_test is None
    several = " every target" if every else ""
    digest = hashlib.sha256(f"{k} {seed} {apart and drawn}{several}".encode())
    kept = raw.frame[columns]
    digest.update(pd.util.hash_pandas_object(kept, index=False).to_numpy().tobytes())
    if raw.given_test is not None:
        pairs = raw.given_test[["user", "item"]]
        digest.update(pd.util.hash_pandas_object(pairs, index=False).to_numpy().tobytes())
    used = set(kept["item"].astype(str))
    for name, (ids, matrix) in sorted(raw.features.items()):
        order = [place for place in np.argsort(ids) if ids[place] in used]
        digest.update(name.encode() + "\n".join(ids[order].tolist()).encode())
        digest.update(np.ascontiguousarray(matrix[order]).tobytes())
    return digest.hexdigest()


def content_hash(
    users: np.ndarray,
    items: np.ndarray,
    train: Rows,
    held: dict[str, np.ndarray],
    features: dict[str, np.ndarray],
    present: dict[str, np.ndarray] | None = None,
    further: Mapping[str, Rows] | None = None,
) -> str:
    """Return the SHA-256 over ids, split, features and what is missing.

    Two equal hashes are the same experiment's data; names and item metadata are not in them.
    """
    digest = hashlib.sha256()
    digest.update("\n".join([*users.tolist(), "", *items.tolist()]).encode())
    for array in (train.indptr, train.indices, held["validation"], held["test"]):
        digest.update(np.ascontiguousarray(array).tobytes())
    for name in sorted(features):
        digest.update(name.encode() + np.ascontiguousarray(features[name]).tobytes())
    for name, mask in sorted((present or {}).items()):
        digest.update(b"present " + name.encode() + np.ascontiguousarray(mask).tobytes())
    for name, rows in sorted((further or {}).items()):
        digest.update(b"further " + name.encode() + rows.indptr.tobytes() + rows.indices.tobytes())
    return digest.hexdigest()


def index_ids(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids in order (numbers by value, text by letter), and each row's index."""
    ids = column.unique().astype(str)
    numeric = all(i.isdecimal() for i in ids)
    order = sorted(ids, key=int) if numeric else sorted(ids)
    ids = np.array(order)
    place = pd.Series(np.arange(len(ids)), index=ids)
    return ids, place.loc[column].to_numpy()
