"""What a data set is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from privfedmm.data.raw.errors import DataError
from privfedmm.data.summary import Summary

__all__ = ["DataError", "Dataset", "Held", "Protocol", "Rows", "SplitBy", "Truth", "Unit"]

Unit = Literal["user", "interaction"]  # what a budget protects
SplitBy = Literal["auto", "leave-one-out", "given"]  # who says what is held out


@dataclass(frozen=True)
class Rows:
    """These are the positives of every user, one after the other.

    indptr [users + 1] int64: where each user's begin and end. indices [positives] int32: the items,
    ascending for each user.
    """

    indptr: np.ndarray
    indices: np.ndarray

    @property
    def users(self) -> int:
        """Return the number of users."""
        return len(self.indptr) - 1

    @property
    def counts(self) -> np.ndarray:
        """Return the number of positives of each user [users] int64."""
        return np.diff(self.indptr)

    @property
    def owner(self) -> np.ndarray:
        """Return the user of each positive [n]."""
        return np.repeat(np.arange(self.users), self.counts)

    def oldest_first(self, age: np.ndarray) -> np.ndarray:
        """Return the places of the positives [n], by user and in order of time.

        age [n]: for each positive, how many later ones its user has.
        """
        return np.lexsort((-age, self.owner))

    def row(self, user: int) -> np.ndarray:
        """Return the items of one user, ascending."""
        return self.indices[self.indptr[user] : self.indptr[user + 1]]

    @classmethod
    def from_pairs(cls, user: np.ndarray, item: np.ndarray, users: int) -> Rows:
        """Make rows from pairs in any order; user and item [n] are indices."""
        order = np.lexsort((item, user))
        counts = np.bincount(user, minlength=users)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(indptr, item[order].astype(np.int32))

    @classmethod
    def of_one(cls, target: np.ndarray) -> Rows:
        """Make rows from one item a user [users], -1 where a user has none."""
        have = np.flatnonzero(target >= 0)
        return cls.from_pairs(have, target[have], len(target))

    def only(self, kept: np.ndarray) -> Rows:
        """Return the rows without the positives that `kept` [n] bool leaves out."""
        return Rows.from_pairs(self.owner[kept], self.indices[kept], self.users)

    def of_users(self, first: int, last: int) -> Rows:
        """Return the rows of the users from `first` to before `last`."""
        start, stop = self.indptr[first], self.indptr[last]
        return Rows(self.indptr[first : last + 1] - start, self.indices[start:stop])

    def among(self, users: int, first: int) -> Rows:
        """Return these rows as those of `users` users, of whom only some have any.

        first: the number of the first of them.
        """
        before = np.zeros(first, dtype=np.int64)
        after = np.full(users - first - self.users, len(self.indices), dtype=np.int64)
        return Rows(np.concatenate([before, self.indptr, after]), self.indices)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of the same users put together; no positive may be in two of them."""
        owner = np.concatenate([part.owner for part in parts])
        return cls.from_pairs(
            owner, np.concatenate([part.indices for part in parts]), parts[0].users)


Held = np.ndarray | Rows  # [users] with one item a user or -1, or rows where there are several


@dataclass(frozen=True)
class Truth:
    """This is what a generated data set knows of itself.

    user_group [users]: the group of each user. text_topic, image_topic [items]: the topics of each
    item. fresh_items [items] bool: the items that are rare in training and common among the
    held-out ones.
    """

    user_group: np.ndarray
    text_topic: np.ndarray
    image_topic: np.ndarray
    fresh_items: np.ndarray


@dataclass(frozen=True)
class Protocol:
    """This says how the data was filtered and split, in words that go into the record.

    given: whether the data itself says what is held out.
    """

    k_core: int
    split: str
    ties: str
    note: str
    given: bool = False


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set holds interactions split for evaluation, with public item features.

    validation and test [users] int64 hold an item index, or -1 where a user has none, and of
    several held-out items the last; `train` holds none of them. features: modality -> [items, F]
    float32. items: metadata in index order.
    """

    name: str
    user_ids: np.ndarray
    item_ids: np.ndarray
    train: Rows
    validation: np.ndarray
    test: np.ndarray
    features: dict[str, np.ndarray]
    items: pd.DataFrame
    truth: Truth | None
    protocol: Protocol
    sha256: str
    feature_notes: dict[str, str] = field(default_factory=dict)
    # Modality -> [items] bool, only where some items lack it; their feature rows are 0 and stand
    # for nothing.
    present: dict[str, np.ndarray] = field(default_factory=dict)
    # [items] bool: held out of training altogether; cold_target [users], an item of them or -1.
    cold: np.ndarray | None = None
    cold_target: np.ndarray | None = None
    # Of each training interaction, in the order of train.indices: how many later ones its user
    # has. None where the data has no times.
    train_age: np.ndarray | None = None
    # Whether the items are a public catalogue's, which no user's row has shaped. A budget asks for
    # it: what was made from rows tells of them.
    public_items: bool = False
    # [items] bool: the items that an evaluation ranks, None for all. They follow from everybody's
    # rows, so that only the experimenter knows them.
    candidates: np.ndarray | None = None
    # The SHA-256 of rows and features before anything was filtered; "" where that is not known.
    read_sha256: str = ""
    # "validation" and "test" -> what else of a given split is held out, beside the last item of
    # each user; a name is there where there is any. Nothing is trained on it.
    further: Mapping[str, Rows] = field(default_factory=dict)
    # Whether further held-out items are targets too; else they are just no candidates.
    every_target: bool = False
    # The same rows split another way; None where there is but one, or the rows are gone.
    resplit: Callable[[SplitBy], Dataset] | None = field(default=None, compare=False, repr=False)
    # What was read, dropped, filtered, ignored or guessed; None for generated data.
    summary: Summary | None = field(default=None, compare=False, repr=False)
    # The same rows over their public catalogue, for a `unit`; None where there is no way to it.
    over_catalogue: Callable[..., Dataset] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_pandas(
        cls,
        interactions: pd.DataFrame,
        items: pd.DataFrame | None = None,
        features: Mapping[str, np.ndarray | pd.DataFrame] | None = None,
        *,
        name: str = "dataframe",
        k_core: int = 5,
        split_seed: int = 0,
        columns: Mapping[str, str] | None = None,
        min_rating: float | None = None,
        duplicates: Literal["last", "first", "error"] = "last",
    ) -> Dataset:
        """Make a data set from tables in memory; in a folder, the same data has the same `sha256`.

        interactions: one row a positive, with columns user and item, and maybe time, rating and
        split (train, validation, test); user_id, itemId, timestamp and the like are known too.
        items: one row an item, with a column item_id or with the ids as its index,
        and maybe title, genres, description and so on. features: modality -> an array [items, F] in
        the order of `items`, or a DataFrame indexed by item id; an item lacks a modality where its
        row is not there or NaN throughout. Without features, texts of the items are encoded as for
        a folder. columns: what the columns are called where that is not known, as in
        {"user": "who"}. min_rating: the least rating of a row that counts, None where all do.
        duplicates: which row of a pair that stands several times is kept, by time where there is
        one, or `error`. k_core: the filter's least number of interactions, 0 for none. split_seed:
        serves only splits that the data leaves open.

        Under a budget the table `items` is the public catalogue: all of its items are in the data,
        whoever has them, and k_core chooses what is evaluated alone.

        Ids are text: '007' is another id than '7', and the number 7 is '7'. Raises DataError with
        a sentence that names the table, the column, the row and what to do.
        """
        from privfedmm.data.frames import from_pandas
        from privfedmm.data.raw.reading import Reading

        return from_pandas(interactions, items, features, name=name, k_core=k_core,
                           split_seed=split_seed,
                           reading=Reading(dict(columns or {}), min_rating, duplicates))

    def __repr__(self) -> str:
        """Say what it is, and nothing of what is in it."""
        return (f"<Dataset {self.name}: {self.num_users} users, {self.num_items} items, "
                f"{len(self.train.indices)} interactions to train on, "
                f"{', '.join(self.features) or 'no'} features>")

    @property
    def num_users(self) -> int:
        """Return the number of users."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """Return the number of items."""
        return len(self.item_ids)

    @property
    def missing(self) -> dict[str, int]:
        """Return how many items lack each modality; `every` counts items that lack all of them.

        It is empty where no item lacks any.
        """
        if not self.present:
            return {}
        out = {name: int((~mask).sum()) for name, mask in sorted(self.present.items())}
        masks = [self.present.get(n, np.ones(self.num_items, dtype=bool)) for n in self.features]
        return {**out, "every": int((~np.any(masks, axis=0)).sum())}

    @property
    def num_interactions(self) -> int:
        """Return the number of interactions in training, validation and test together."""
        held = int((self.validation >= 0).sum() + (self.test >= 0).sum())
        held += sum(len(rows.indices) for rows in self.further.values())
        return len(self.train.indices) + held

    @property
    def targets(self) -> dict[str, Held]:
        """Return what is ranked, "validation" and "test": [users] with an item or -1, or rows where
        a user may have several targets."""
        last = {"validation": self.validation, "test": self.test}
        if not self.every_target:
            return dict(last)
        return {name: Rows.joined([Rows.of_one(own), self.further[name]])
                if name in self.further else own for name, own in last.items()}

    @property
    def aside(self) -> Rows | None:
        """Return each user's held-out items that are neither targets nor candidates; None for
        none."""
        if self.every_target or not self.further:
            return None
        return Rows.joined(list(self.further.values()))
