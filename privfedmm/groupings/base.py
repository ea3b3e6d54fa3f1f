"""What a grouping does: in one form each client picks its group, in the other the server does.

A grouping keeps nothing between calls: server and nodes each build their own, and a resumed run
builds it anew. What must last is in the centroids, or in the labels of the round before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from privfedmm.groupings.centroids import Centroids


class ClientPicked(Protocol):
    """Lets clients pick from broadcast centroids; the server learns groups' counts and sums alone.

    Centroids are plain `Centroids`, finite and float32; `mean` and `angular` mean what the grouping
    makes of them. A wrong answer is refused with a sentence (checked.py).
    """

    def start(self) -> Centroids:
        """Return centroids of `settings.groups` groups before round 0, from public terms."""
        ...

    def pick(self, signals: Tensor, centroids: Centroids) -> Tensor:
        """Return the group of each signal [m, D], as int64 [m] below `settings.groups`.

        It runs on the device. A signal has norm 1, or is 0 where a user has nothing that tells.
        """
        ...

    def move(self, centroids: Centroids, counts: Tensor, sums: Tensor, least: float) -> Centroids:
        """Return new centroids from counts [groups] and sums [groups, D] of signals.

        It runs on the server. Counts and sums may both carry noise; a group that counts below
        `least` may be noise alone, or too small to hide its members, and must not be told from its
        sum.
        """
        ...


class ServerPicked(Protocol):
    """Clusters every client's own parameters, which the server therefore reads in the clear.

    It needs a backbone with a network and a head, and `distillation.teacher` mean_head.
    """

    def labels(self, vectors: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
        """Return the group of each client, int64 [n] below `settings.groups`.

        vectors [n, P]: the clients' parameters. previous [n]: the labels of the round before, None
        in the first round; groups should keep their names.
        """
        ...


Grouping: TypeAlias = ClientPicked | ServerPicked
