"""A data set in parts: what is public of it, and the rows of some of its users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.encoded import Encoding
from privfedmm.data.kept_features import features_of
from privfedmm.data.layouts import read_data, read_items
from privfedmm.data.metadata import public_features
from privfedmm.data.prepare import (
    TIES,
    asked_of,
    content_hash,
    index_ids,
    refuse_empty,
    split_and_index,
)
from privfedmm.data.raw import AS_IT_IS, Reading
from privfedmm.data.types import DataError, Dataset, Protocol, Rows, SplitBy


@dataclass(frozen=True)
class Catalogue:
    """A catalogue is what everyone may know, items and their features; no user's row is in it.

    items: the ids [items] str, in the order of their numbers. features, present: as in `Dataset`.
    sha256: the name of the data, of the whole set where whoever made this has the whole set.
    """

    name: str
    items: np.ndarray
    features: Mapping[str, np.ndarray]
    notes: Mapping[str, str]
    present: Mapping[str, np.ndarray]
    sha256: str

    @classmethod
    def of(cls, data: Dataset) -> Catalogue:
        """Return the public part of a data set."""
        return cls(data.name, data.item_ids, data.features, data.feature_notes, data.present,
                   data.sha256)

    def with_rows(self, users: int, first: int, shard: Shard) -> Dataset:
        """Return a data set of `users` users, of whom only those of `shard` have rows.

        first: the number of the first of them.
        """
        held = np.full((2, users), -1, dtype=np.int64)
        held[:, first:first + len(shard.user_ids)] = shard.validation, shard.test
        return Dataset(
            self.name, np.arange(users), self.items, shard.train.among(users, first),
            held[0], held[1], dict(self.features), pd.DataFrame(), None,
            Protocol(0, "made on each node", TIES, ""), self.sha256, dict(self.notes),
            dict(self.present), train_age=shard.train_age, public_items=True,
            further={n: rows.among(users, first) for n, rows in shard.further.items()})


@dataclass(frozen=True)
class Shard:
    """A shard holds the rows of m users, as one node has them.

    user_ids [m] str; train: Rows of m users; validation and test [m] int64 hold an item or -1;
    train_age, further: as in `Dataset`.
    """

    user_ids: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=str))
    train: Rows = field(default_factory=lambda: Rows(
        np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int32)))
    validation: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    test: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    train_age: np.ndarray | None = None
    further: Mapping[str, Rows] = field(default_factory=dict)


def shard_of(data: Dataset, users: np.ndarray) -> Shard:
    """Return the rows of consecutive users [m] of a data set."""
    first, last = int(users[0]), int(users[-1]) + 1
    start, stop = data.train.indptr[first], data.train.indptr[last]
    return Shard(
        data.user_ids[first:last].astype(str),
        data.train.of_users(first, last), data.validation[first:last], data.test[first:last],
        None if data.train_age is None else data.train_age[start:stop],
        {name: rows.of_users(first, last) for name, rows in data.further.items()})


def read_catalogue(folder: Path, encoding: Encoding) -> Catalogue:
    """Read a folder of items and features alone, in our layout. Raises DataError."""
    raw = public_features(read_items(folder), encoding)
    items, _ = index_ids(pd.Series(raw.items.index))
    features, present = features_of(raw, items)
    nobody = Shard()
    digest = content_hash(
        nobody.user_ids, items, nobody.train,
        {"validation": nobody.validation, "test": nobody.test}, features, present)
    notes = {name: note for name, note in raw.feature_notes.items() if name in features}
    return Catalogue(raw.name, items, features, notes, present, digest)


def read_shard(
    folder: Path, items: np.ndarray, seed: int, least: int | None = None,
    by: SplitBy = "auto", reading: Reading = AS_IT_IS,
) -> Shard:
    """Read the rows in a folder of any layout, whose items are among `items` (ids, by number).

    seed: the seed of splits that the data leaves open. least: as for `split_and_index`; a run
    under a budget gives `SHORTEST`. by: as for `prepare`. reading: how rows are taken. No k-core is
    taken. Raises DataError.
    """
    raw = asked_of(read_data(folder, reading), by)
    refuse_empty(raw)
    unknown = ~raw.frame["item"].isin(items)
    if unknown.any():
        row = raw.frame[unknown].iloc[0]
        raise DataError(f"{raw.source} line {row['line']}: item {row['item']} is none of the "
                        f"{len(items)} items of the run; delete the line")
    if least is not None:  # a user of whose rows none counts takes part with none
        raw.users = raw.everyone
    split = split_and_index(raw.frame.reset_index(drop=True), raw, seed, items, least)
    return Shard(split.users, split.train, split.held["validation"], split.held["test"], split.age,
                 split.further)
