"""A grouping whose answers are looked at before they are used: it may be somebody else's."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from privfedmm.base.errors import UserError
from privfedmm.groupings.base import ClientPicked, ServerPicked
from privfedmm.groupings.centroids import Centroids
from privfedmm.groupings.entry import GroupingEntry, GroupingTerms


class CheckedClients:
    """Checks a `ClientPicked`: raises UserError, naming grouping and method, for a wrong answer.

    A wrong one would otherwise go unnoticed: a group for one client stands for all of a block, and
    what is not a number spreads.
    """

    def __init__(self, entry: GroupingEntry, terms: GroupingTerms) -> None:
        self._name, self._terms = entry.name, terms
        self._inner = cast(ClientPicked, entry.build(terms))

    def start(self) -> Centroids:
        """Return the grouping's first centroids. Raises UserError where they are not sound."""
        return self._centroids("start", self._inner.start())

    def pick(self, signals: Tensor, centroids: Centroids) -> Tensor:
        """Return the group of each signal [m, D]: int64 [m]. Raises UserError for anything else."""
        found: Any = self._inner.pick(signals, centroids)
        groups = self._terms.settings.groups
        right = (isinstance(found, Tensor) and found.dtype == torch.int64
                 and found.shape == (len(signals),)
                 and bool(((found >= 0) & (found < groups)).all()))
        if not right:
            raise _wrong(self._name, "pick", f"an int64 tensor [{len(signals)}] of groups 0 to "
                         f"{groups - 1}", found)
        return cast(Tensor, found)

    def move(self, centroids: Centroids, counts: Tensor, sums: Tensor, least: float) -> Centroids:
        """Return the grouping's next centroids. Raises UserError where they are not sound."""
        return self._centroids("move", self._inner.move(centroids, counts, sums, least))

    def _centroids(self, method: str, found: Any) -> Centroids:
        groups, dim = self._terms.settings.groups, self._terms.dim
        # A class of their own would neither travel nor come back from a checkpoint.
        right = type(found) is Centroids and all(
            part.dtype == torch.float32 and part.shape == shape and bool(part.isfinite().all())
            for part, shape in ((found.centres, (groups, dim)), (found.mean, (dim,))))
        if not right:
            raise _wrong(self._name, method, f"Centroids of finite float32 centres [{groups}, "
                         f"{dim}] and mean [{dim}]", found)
        return cast(Centroids, found)


class CheckedServer:
    """Checks a `ServerPicked`: raises UserError, naming grouping and method, for a wrong answer."""

    def __init__(self, entry: GroupingEntry, terms: GroupingTerms) -> None:
        self._name, self._terms = entry.name, terms
        self._inner = cast(ServerPicked, entry.build(terms))

    def labels(self, vectors: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
        """Return the group of each client, integers [n] from vectors [n, P].

        Raises UserError for anything else.
        """
        found: Any = self._inner.labels(vectors, previous)
        groups = self._terms.settings.groups
        right = (isinstance(found, np.ndarray) and np.issubdtype(found.dtype, np.integer)
                 and found.shape == (len(vectors),)
                 and bool(((found >= 0) & (found < groups)).all()))
        if not right:
            raise _wrong(self._name, "labels", f"an array [{len(vectors)}] of whole numbers 0 to "
                         f"{groups - 1}", found)
        return cast(np.ndarray, found)


def _wrong(name: str, method: str, wanted: str, found: Any) -> UserError:
    shape = f" {list(found.shape)}" if isinstance(found, Tensor | np.ndarray) else ""
    kind = f"{type(found).__name__}{shape}"
    return UserError(f"groups.grouping: {method} of grouping {name!r} must give {wanted}, but its "
                     f"answer ({kind}) is not that; mend the grouping, or take another")
