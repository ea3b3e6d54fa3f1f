"""The rows of one person, from a file of their own, numbered by the items of a catalogue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.parts import Shard
from privfedmm.data.raw import AS_IT_IS, SPLITS, Reading, interactions, read_rows
from privfedmm.data.raw.files import names_of
from privfedmm.data.types import DataError, Rows

ALONE = "you"  # who the rows are of, where the file does not say
_NOBODY = "\0user"


def read_own_rows(
    path: Path, items: np.ndarray, timed: bool, reading: Reading = AS_IT_IS
) -> tuple[Shard, int]:
    """Return the rows of one user, and how many more name an item that the catalogue lacks.

    path: a table in any format that is read, with a column of items, and maybe times and users.
    items: the ids [items] by number. timed: whether it matters which row came first; without a
    column of times the rows count as the oldest first. reading: how the rows of the run's data were
    taken; names of columns hold where the file has them, a least rating where it has ratings.
    Raises DataError for a file that is none, for two users in it, and where no row is of a known
    item.
    """
    there = names_of(path)
    own = replace(reading, columns={
        ours: theirs for ours, theirs in reading.columns.items() if theirs in there})
    table = read_rows(path, own, needed=("item",))
    columns, rows = dict(table.columns.found), table.frame
    # Without a least rating, what the run's owner chose for all is that every row counts.
    if "rating" not in columns or reading.min_rating is None:
        own = replace(own, min_rating=None)
        columns.pop("rating", None)
    if "user" not in columns:
        columns["user"] = _NOBODY
        rows = rows.assign(**{_NOBODY: ALONE})
    frame = interactions(rows, table.origin, {
        n: c for n, c in columns.items() if n != "split"}, SPLITS, own).frame
    users = frame["user"].unique()
    if len(users) > 1:
        raise DataError(f"{path.name} has rows of {len(users)} users, {users[0]} and {users[1]} "
                        "among them; give a file of one user's rows")
    known = frame[frame["item"].isin(items)]
    if known.empty:
        raise DataError(f"{path.name} names none of the {len(items)} items of the model; its items "
                        f"are called {', '.join(map(str, items[:3]))}")
    number = pd.Series(np.arange(len(items)), index=items)
    if "time" in known:
        known = known.sort_values("time", kind="stable")
    item = number.loc[known["item"]].to_numpy()
    # The last of the rows has 0 later ones.
    age = np.arange(len(item))[::-1][np.argsort(item)].astype(np.int32) if timed else None
    nothing = np.full(1, -1, dtype=np.int64)
    return Shard(
        users.astype(str), Rows.from_pairs(np.zeros(len(item), dtype=np.int64), item, 1),
        nothing, nothing, age), len(frame) - len(known)
