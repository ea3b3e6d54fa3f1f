"""Declare what leaves a client: each release by name, shape, rounds, and who sees what of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from privacy.roles import Role

Kind = Literal["sum", "individual"]


@dataclass(frozen=True)
class Release:
    """Declare a release: its name, the shape of one client's vector, and who sees what of it.

    `sum`: the server needs only the sum over the cohort. `individual`: the server needs every
    client's own vector, which no aggregation can hide. rounds: the rounds in which it leaves the
    clients; None: all of them from round `since` on. statistic: a statistic of groups, which may
    travel another way than the updates. role: what it is for; no price, digest or record depends
    on it.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind = "sum"
    meaning: str = ""
    rounds: tuple[int, ...] | None = None
    statistic: bool = False
    role: Role = Role.OTHER
    since: int = 0

    def in_round(self, round_: int) -> bool:
        """Tell whether the release is made in a round."""
        return round_ >= self.since if self.rounds is None else round_ in self.rounds

    @property
    def first(self) -> int:
        """Return the first round in which it is made."""
        return self.since if self.rounds is None else min(self.rounds)

    @property
    def every_round(self) -> bool:
        """Tell whether it is made in every round of a run."""
        return self.rounds is None and not self.since


def turns(releases: Iterable[Release]) -> tuple[int, ...]:
    """Return the rounds from which on other releases are made than before, round 0 among them."""
    found = {0}
    for release in releases:
        found |= {release.since} if release.rounds is None else {
            t + step for t in release.rounds for step in (0, 1)}
    return tuple(sorted(found))
