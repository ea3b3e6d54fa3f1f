"""How rows are to be read, and what reading tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Duplicates = Literal["last", "first", "error"]


@dataclass(frozen=True)
class Reading:
    """A reading says how the rows of a user's data are to be taken.

    columns: our name (user, item, rating, time, split) -> what the data calls it, where the names
    that are known do not tell. min_rating: the least rating of a row that counts as liked, None
    where every row counts. duplicates: which row of a pair that is there several times is kept,
    the last or first by time, in the order of the file where there are no times; or `error`.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    min_rating: float | None = None
    duplicates: Duplicates = "last"


AS_IT_IS = Reading()


@dataclass(frozen=True)
class Line:
    """A line is one sentence of the summary of what was read, dropped, ignored or guessed.

    kind: what it is about, one of `privfedmm.data.summary.KINDS`. says: what was done, whatever
    the rows hold. found: what follows from users' rows, counts and ranges; it is left out where a
    budget protects them. values: the same as numbers, for records.
    """

    kind: str
    says: str
    found: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def text(self, private: bool = False) -> str:
        """Return the sentence; private: without what follows from users' rows."""
        return "; ".join(part for part in (self.says, "" if private else self.found) if part)
