"""From raw interactions to a data set over a public catalogue, as a budget asks for it.

Which items there are, their features and all that follows from both is told to everybody, so no
row may decide it: with a filter over rows, leaving out one user takes items away, with them other
users' rows, and with these further items. Here the catalogue says which items there are, each
user's rows are split by that user's rows alone, and only the evaluation knows of a k-core.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.prepare import (
    asked_of,
    dataset_of,
    index_ids,
    k_core,
    read_hash,
    refuse_empty,
    resplit_of,
    split_and_index,
    with_lines,
)
from privfedmm.data.raw import DataError, Line, Raw, item_table
from privfedmm.data.types import Dataset, SplitBy, Unit

ITEMS, USERS = "items.csv", "users.csv"
SHORTEST = 3  # rows of a user of whom one is held out for validation and one for test
_ALL = "all users and all items of the catalogue are in training"
HOW = (f"add {ITEMS} with a column item_id that lists every item, whoever has it (in Python, the "
       "argument items), or set "
       "dp.catalogue to from_interactions, which the statement names as outside the claim")


def with_lists(raw: Raw, folder: Path) -> Raw:
    """Return what a folder's layout read, with the items and users that its owner declares public.

    They are `items.csv` where the layout itself lists no items, and `users.csv` (user_id), who
    takes part with rows or without. Raises DataError for faults in either.
    """
    if raw.catalogue is None and (folder / ITEMS).is_file():
        raw = replace(raw, catalogue=item_table(folder / ITEMS, None, lenient=True))
    if (folder / USERS).is_file():
        listed = item_table(folder / USERS, None, ours="user")
        users = listed.index.to_numpy().astype(str)
        absent = ~raw.frame["user"].isin(users)
        if absent.any():
            row = raw.frame[absent].iloc[0]
            raise DataError(f"{raw.source} line {row['line']}: user {row['user']} is not in "
                            f"{USERS}; add the user there or delete the line")
        raw = replace(raw, users=users)
    return raw


def listed(raw: Raw) -> Raw:
    """Return the same data with the catalogue as its table of items.

    Raises DataError where there is none, or a row names an item that it lacks.
    """
    if raw.catalogue is None:
        raise DataError(f"{raw.source} alone says which items there are, and a set of items that "
                        f"is made from users' rows tells of them; {HOW}")
    unknown = ~raw.frame["item"].isin(raw.catalogue.index)
    if unknown.any():
        row = raw.frame[unknown].iloc[0]
        raise DataError(f"{raw.source} line {row['line']}: item {row['item']} is not in the "
                        "catalogue; add it there or delete the line")
    return replace(raw, items=raw.catalogue)


def prepare_over_catalogue(
    raw: Raw, k: int, seed: int, unit: Unit = "user", by: SplitBy = "auto"
) -> Dataset:
    """Split and index what `listed` returned. Raises DataError for what cannot be evaluated.

    k: users and items are evaluated that are in the k-core of all rows, 0 for all; training is on
    everybody's rows. Items are those of the catalogue, and the number of users is public.

    unit: of a whole user, whoever has fewer than k rows, or than 3, trains on all of them, and
    others hold out two. Of a single interaction everybody holds out two: at a threshold one
    interaction more would take three out of training. by: as for `prepare`.
    """
    whole, raw = raw, asked_of(raw, by)
    if k < 0:
        raise DataError(f"the k-core filter cannot be {k}; give 0 for none, or a positive number")
    refuse_empty(raw)
    raw = with_lines(raw, Line("filter", _ALL if k == 0 else f"{_ALL}; the {k}-core is of the "
                               "evaluation alone"))
    items, _ = index_ids(pd.Series(raw.items.index))
    frame = raw.frame.reset_index(drop=True)
    split = split_and_index(
        frame, raw, seed, items, least=max(k, SHORTEST) if unit == "user" else 0)
    held, further, candidates, note = split.held, split.further, None, ""
    if k:
        core = k_core(frame, k)
        if core.empty:
            raise DataError(f"{raw.source} has no interactions in its {k}-core, so there is "
                            "nothing to evaluate; lower --k-core")
        among = np.isin(items, core["item"].unique())
        who = np.isin(split.users, core["user"].unique())
        held = {name: np.where(who & (target >= 0) & among[target], target, -1)
                for name, target in held.items()}
        further = {name: rows.only(who[rows.owner] & among[rows.indices])
                   for name, rows in further.items()}
        candidates = None if among.all() else among
        note = (f"Items are those of the catalogue and every user trains; the {k}-core "
                f"({int(who.sum())} users, {int(among.sum())} items) is of the evaluation alone.")
    every = by == "given"
    again = partial(prepare_over_catalogue, whole, k, seed, unit)
    return dataset_of(raw, split, held, k, [split.note, note],
                      read_hash(raw, k, seed, apart=True, every=every), public_items=True,
                      candidates=candidates, every_target=every, further=further,
                      resplit=resplit_of(again, whole))
