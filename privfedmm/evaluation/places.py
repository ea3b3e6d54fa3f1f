"""Where held-out items came among the candidates: one number a user, or several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from privfedmm.data.types import Held, Rows

_COUNTS = "_counts"  # after the name of a target, in files


@dataclass(frozen=True)
class Places:
    """Places hold the ranks of held-out items, of users who may have several.

    counts [users] int64: the number of held-out items of each user, 0 for none. ranks [n] int32:
    the place of each item among the user's candidates, from 1; user by user, ascending for each.
    """

    counts: np.ndarray
    ranks: np.ndarray

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.counts)

    def __getitem__(self, kept: np.ndarray) -> Places:
        """Return the places of the users that are kept, [users] bool."""
        return Places(self.counts[kept], self.ranks[kept[self.owner]])

    @property
    def owner(self) -> np.ndarray:
        """Return the user of each rank [n]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def nth(self) -> np.ndarray:
        """Return, for each rank [n], which it is of its user's: 1 for the best."""
        first = np.cumsum(self.counts) - self.counts
        return np.arange(1, len(self.ranks) + 1) - np.repeat(first, self.counts)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of values [n] over the ranks of each user: [users] float64."""
        return np.bincount(self.owner, weights=values, minlength=len(self.counts))

    def simplest(self) -> Ranks:
        """Return ranks [users] where no user has more than one held-out item, else the places."""
        if self.counts.max(initial=0) > 1:
            return self
        out = np.zeros(len(self.counts), dtype=np.int32)
        out[self.owner] = self.ranks
        return out

    @classmethod
    def of(cls, ranks: Ranks) -> Places:
        """Return places, also of ranks [users] of one item each, 0 where there is none."""
        if isinstance(ranks, Places):
            return ranks
        have = ranks >= 1
        return cls(have.astype(np.int64), ranks[have])


Ranks = np.ndarray | Places  # [users] int32, 0 for no held-out item; or places, for several


def as_rows(held: Held) -> Rows:
    """Return held-out items as rows, also where they are one item or -1 a user [users]."""
    return held if isinstance(held, Rows) else Rows.of_one(held)


def to_arrays(ranks: Mapping[str, Ranks]) -> dict[str, np.ndarray]:
    """Return ranks by target as arrays for a file: ranks of one a user under the target's name, of
    several the ranks there and the counts beside."""
    out: dict[str, np.ndarray] = {}
    for name, found in ranks.items():
        if isinstance(found, Places):
            out |= {name: found.ranks, name + _COUNTS: found.counts}
        else:
            out[name] = found
    return out


def from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, Ranks]:
    """Return the ranks by target that `to_arrays` made the arrays of."""
    return {name: Places(arrays[name + _COUNTS], array) if name + _COUNTS in arrays else array
            for name, array in arrays.items() if not name.endswith(_COUNTS)}
