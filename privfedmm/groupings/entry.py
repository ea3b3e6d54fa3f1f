"""What a grouping says of itself, before one is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from privfedmm.groupings.base import Grouping
from privfedmm.groupings.settings import GroupSettings

if TYPE_CHECKING:
    from torch import Tensor

# Who sees what: a client that picks sends a count and a sum of its group; where the server picks,
# it reads every client's own parameters.
PickedBy = Literal["nobody", "client", "server"]
_WORDS: dict[PickedBy, list[str]] = {
    "nobody": [], "client": ["picked by clients", "from sums"],
    "server": ["picked by the server", "from every client's network"]}


@dataclass(frozen=True, kw_only=True)
class GroupingTerms:
    """Holds what a grouping is built from; all of it is public.

    signals [items, dim]: the item features in the space of the clients' signals, None where signals
    live in another space. dim: the length of a signal. seed: the seed of the run.
    """

    settings: GroupSettings
    signals: Tensor | None
    dim: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class GroupingEntry:
    """Describes a grouping as it is registered.

    picked_by decides what `build` must give: None for "nobody", a `ClientPicked` for "client", a
    `ServerPicked` for "server". Raises ValueError for another picked_by.
    """

    name: str
    summary: str
    picked_by: PickedBy
    build: Callable[[GroupingTerms], Grouping | None]
    reference: str = ""

    def __post_init__(self) -> None:
        """Check that picked_by names who picks. Raises ValueError where it does not."""
        if self.picked_by not in _WORDS:
            raise ValueError(f"grouping {self.name!r}: picked_by must be one of "
                             f"{', '.join(_WORDS)}, not {self.picked_by!r}")

    def words(self) -> list[str]:
        """Return its capabilities, for a table."""
        return _WORDS[self.picked_by]
