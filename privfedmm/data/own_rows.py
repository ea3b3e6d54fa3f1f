"""The rows of one person, from a file of their own, numbered by the items of a catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.frames import COLUMNS
from privfedmm.data.parts import Shard
from privfedmm.data.raw import SPLITS, Origin, interactions, read_table
from privfedmm.data.types import DataError, Rows

ALONE = "you"  # who the rows are of, where the file does not say


def read_own_rows(path: Path, items: np.ndarray, timed: bool) -> tuple[Shard, int]:
    """Return the rows of one user, and how many more name an item that the catalogue lacks.

    path: a table with a column item_id, and maybe timestamp and user_id, separated by commas, or by
    tabs where its name ends in tsv. items: the ids [items] by number. timed: whether it matters
    which row came first; without a column of times the rows count as the oldest first. Raises
    DataError for a file that is none, for two users in it, and where no row is of a known item.
    """
    table = read_table(path, "\t" if path.suffix == ".tsv" else ",")
    found = {ours: [n for n in names if n in table.columns] for ours, names in COLUMNS.items()}
    if not found["item"]:
        raise DataError(f"{path.name} has no column item_id; its columns are "
                        f"{', '.join(table.columns)}")
    columns = {ours: there[0] for ours, there in found.items() if there}
    if "user" not in columns:
        columns["user"] = COLUMNS["user"][0]
        table[columns["user"]] = ALONE
    frame = interactions(table, Origin(path.name), {
        n: c for n, c in columns.items() if n in ("user", "item", "time")}, SPLITS)
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
