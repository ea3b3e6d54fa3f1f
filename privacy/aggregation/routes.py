"""Two ways for one upload: the releases of a round by the protocol that carries them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from privacy.aggregator import Sums, Task


def by_route(task: Task) -> list[tuple[bool, Task]]:
    """Return whether releases are group statistics, and the task of these alone; updates come
    first.

    A route that has no release in this round is left out.
    """
    out = []
    for statistic in (False, True):
        releases = tuple(r for r in task.releases if r.statistic == statistic)
        if releases:
            out.append((statistic, replace(task, releases=releases)))
    return out


def merged(parts: Sequence[Sums]) -> Sums:
    """Return the sums of protocols that carried different releases of one round, as one.

    A round has as many survivors as the protocol with fewest. Bytes and seconds are added up.
    """
    seconds: Counter[str] = Counter()
    for part in parts:
        seconds.update(part.seconds)
    return Sums(
        {n: x for part in parts for n, x in part.sums.items()},
        {n: x for part in parts for n, x in part.individual.items()},
        sum(part.bytes_up for part in parts),
        min(part.survivors for part in parts),
        sum(part.bytes_down for part in parts),
        dict(seconds),
        frozenset().union(*(part.noised for part in parts)),
    )
