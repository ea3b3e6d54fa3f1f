"""Items held out of training altogether, to measure what is recommended from content alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from privfedmm.data.prepare import content_hash
from privfedmm.data.types import DataError, Dataset, Rows, Unit


def hold_out_items(data: Dataset, share: float, seed: int) -> Dataset:
    """Take a random share of the items out of training, and return the data that is left.

    share: the share of all items, from 0 to 1. seed: the seed of which items are taken, and of the
    targets that are drawn.

    A user's cold target is the test item where it is cold, else the validation item, else one of
    the user's cold training items at random (all seeded). Validation and test keep their warm
    targets, and what else is held out its warm items. Raises DataError where a user or a target
    would have nothing left.
    """
    rng = np.random.default_rng([seed, 4])
    count = round(share * data.num_items)
    if not 1 < count < data.num_items:
        raise DataError(f"cold_items: {share:g} of {data.num_items} items is {count}; "
                        "give a share that leaves two on each side")
    cold = np.zeros(data.num_items, dtype=bool)
    cold[rng.choice(data.num_items, count, replace=False)] = True
    owner = data.train.owner
    items = data.train.indices
    kept = ~cold[items]
    left = np.bincount(owner[kept], minlength=data.num_users)
    # Over a public catalogue users may have few rows or none, and take part all the same.
    if (left == 0).any() and not data.public_items:
        user = data.user_ids[int(np.flatnonzero(left == 0)[0])]
        raise DataError(f"cold_items: user {user} has no training item left; lower the share, or "
                        "raise --k-core")
    target = np.full(data.num_users, -1, dtype=np.int64)
    shuffled = rng.permutation(np.flatnonzero(~kept))
    target[owner[shuffled]] = items[shuffled]
    held = {}
    for name, old in (("validation", data.validation), ("test", data.test)):
        moved = (old >= 0) & cold[np.maximum(old, 0)]
        target[moved] = old[moved]
        held[name] = np.where(moved, -1, old)
        if not (held[name] >= 0).any():
            raise DataError(f"cold_items: no user has a warm {name} item left; lower the share")
    train = Rows.from_pairs(owner[kept], items[kept], data.num_users)
    further = {name: rows.only(~cold[rows.indices]) for name, rows in data.further.items()}
    note = (f"{count} of {data.num_items} items are cold (seed {seed}): in no training, and "
            "validation or test items among them count as cold targets only.")
    protocol = replace(data.protocol, note=f"{data.protocol.note} {note}".strip())
    return replace(
        data, train=train, validation=held["validation"], test=held["test"], cold=cold,
        cold_target=target, protocol=protocol, train_age=_ages(data, owner, kept),
        further=further, resplit=None, read_sha256="",
        over_catalogue=data.over_catalogue and partial(_over_catalogue, data, share, seed),
        sha256=content_hash(
            data.user_ids, data.item_ids, train, held, data.features, data.present, further),
    )


def _over_catalogue(data: Dataset, share: float, seed: int, unit: Unit) -> Dataset:
    assert data.over_catalogue is not None
    return hold_out_items(data.over_catalogue(unit=unit), share, seed)


def _ages(data: Dataset, owner: np.ndarray, kept: np.ndarray) -> np.ndarray | None:
    """Later interactions of the same user among those kept, in the order of the new rows."""
    if data.train_age is None:
        return None
    order = np.lexsort((data.train_age, owner))
    order = order[kept[order]]
    first = np.flatnonzero(np.diff(owner[order], prepend=-1))
    runs = np.diff(np.append(first, len(order)))
    age = np.empty(len(owner), dtype=np.int32)
    age[order] = np.arange(len(order)) - np.repeat(first, runs)
    return age[kept]
