"""Ranks of held-out items as nodes tell them, looked at before they are believed to be ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from privfedmm.evaluation import TARGETS, Places, Ranks, from_arrays

HIGHEST = 2**31 - 1  # rank or group


def told_ranks(arrays: Mapping[str, np.ndarray], clients: int) -> dict[str, Ranks] | None:
    """Return the ranks by target that a node of so many clients tells; None where they cannot be
    those of its clients."""
    found = from_arrays(arrays)
    if not found.keys() <= set(TARGETS) or len(arrays) != sum(
            1 + isinstance(ranks, Places) for ranks in found.values()):
        return None
    if all(_of_clients(ranks, clients) for ranks in found.values()):
        return found
    return None


def _of_clients(ranks: Ranks, clients: int) -> bool:
    if not isinstance(ranks, Places):
        return len(ranks) == clients and _between(ranks, 0)
    if len(ranks.counts) != clients or not _between(ranks.counts, 0) or (
            int(ranks.counts.sum()) != len(ranks.ranks) or not _between(ranks.ranks, 1)):
        return False
    # Places in one list: each once, ascending.
    return bool(((np.diff(ranks.ranks) > 0) | (np.diff(ranks.owner) > 0)).all())


def _between(numbers: np.ndarray, lowest: int) -> bool:
    return bool(numbers.min(initial=lowest) >= lowest and numbers.max(initial=lowest) <= HIGHEST)


def put_together(parts: Sequence[tuple[np.ndarray, Ranks]], users: int) -> Ranks:
    """Return the ranks of all users from those of some each.

    parts: the numbers of the users and their ranks. Users of no part have no held-out item.
    """
    places = [Places.of(ranks) for _, ranks in parts]
    counts = np.zeros(users, dtype=np.int64)
    for (ids, _), found in zip(parts, places, strict=True):
        counts[ids] = found.counts
    owner = np.concatenate([ids[found.owner] for (ids, _), found in zip(
        parts, places, strict=True)])
    ranks = np.concatenate([found.ranks for found in places]).astype(np.int32)
    return Places(counts, ranks[np.lexsort((ranks, owner))]).simplest()
