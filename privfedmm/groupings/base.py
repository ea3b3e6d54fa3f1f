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
    """Clients pick from broadcast centroids; the server learns counts and sums of groups alone.

    Centroids are plain `Centroids`, finite and float32; `mean` and `angular` mean what the grouping
    makes of them. A wrong answer is refused with a sentence (checked.py).
    """

    def start(self) -> Centroids:
        """Centroids of `settings.groups` groups before round 0, from public terms."""
        ...

    def pick(self, signals: Tensor, centroids: Centroids) -> Tensor:
        """On the device: the group of each signal [m, D], as int64 [m] below `settings.groups`.

        A signal has norm 1, or is 0 where a user has nothing that tells.
        """
        ...

    def move(self, centroids: Centroids, counts: Tensor, sums: Tensor, least: float) -> Centroids:
        """On the server: new centroids from counts [groups] and sums [groups, D] of signals.

        Both may carry noise; a group that counts below `least` may be noise alone, or too small
        to hide its members, and must not be told from its sum.
        """
        ...


class ServerPicked(Protocol):
    """The server clusters every client's own parameters, which it therefore reads in the clear.

    It needs a backbone with a network and a head, and `distillation.teacher` mean_head.
    """

    def labels(self, vectors: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
        """The group of each client, int64 [n] below `settings.groups`, from vectors [n, P].

        previous [n]: the labels of the round before, None in the first; groups should keep names.
        """
        ...


Grouping: TypeAlias = ClientPicked | ServerPicked
