"""The interface of an aggregator: blocks of uploads go in, sums over the cohort come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from privacy.releases import Release
from privacy.sampling import Cohort
from privacy.uploads import Collected, Uploads, flat

# Stages of a round at which a client can vanish; from `signature` on its upload is in the sum.
BEFORE_UPLOAD = ("advert", "shares", "masked")
AFTER_UPLOAD = ("signature", "unmask")
GridNoise = Callable[[Tensor, str], Tensor]
Clip = Callable[[Uploads], Uploads]


@dataclass(frozen=True)
class Task:
    """Hold what a round is about, known to every party before it begins.

    cohort: the clients that take part. releases: what each of them uploads. min_survivors: fewest
    clients whose sum may be released. attempt: how often the round was aborted before. plan_hash:
    hash of the plan, which is what all clients are told in the round. integer: whether uploads are
    integers on a grid. limit: the largest magnitude of one such integer, noise included.
    key_holder_noise: what a key holder adds to a release's integer total before the server sees
    it; None: nothing. server_clip: by which a server that reads uploads, and is trusted with the
    noise, bounds each of them again before it adds it; None: nothing is promised of their norm that
    noise on the sum should hide. dropouts: stage -> clients that vanish there, in a simulation.
    """

    cohort: Cohort
    releases: tuple[Release, ...]
    min_survivors: int
    attempt: int = 0
    plan_hash: bytes = b""
    integer: bool = False
    limit: float = 0.0
    key_holder_noise: GridNoise | None = None
    server_clip: Clip | None = None
    dropouts: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def vanished(self, stages: Sequence[str] = BEFORE_UPLOAD) -> frozenset[int]:
        """Return the clients that vanish at one of the stages."""
        return frozenset().union(*(self.dropouts.get(stage, frozenset()) for stage in stages))


@dataclass(frozen=True)
class Sums:
    """Hold what the server has after a round.

    sums: release name -> sum over the survivors, [*shape], int64 on a grid, float64
    where a server clip bounds them, and float32 otherwise.
    individual: release name -> every client's own vector, with its sender. bytes_up, bytes_down:
    bytes that the protocol sent from all clients and to all of them. survivors: how many clients
    are in the sum. seconds: CPU seconds of the protocol by party. noised: the names of the releases
    that carry a key holder's noise already.
    """

    sums: Mapping[str, Tensor]
    individual: Mapping[str, Collected]
    bytes_up: int
    survivors: int
    bytes_down: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    noised: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Coalition:
    """Say who conspires, and what of one client they read by it.

    who: the parties that put together what they have. reads: what they learn of a chosen other
    client beyond the released sums.
    """

    who: str
    reads: str


class Session(Protocol):
    """Carry one round of an aggregator."""

    def submit(self, ids: np.ndarray, uploads: Uploads) -> None:
        """Take the uploads of a block of clients, ids [block]."""
        ...

    def close(self) -> Sums:
        """Return the sums. Raises RoundAborted, with nothing released, below `min_survivors`."""
        ...


class Aggregator(Protocol):
    """Open a session a round, and say what the server sees of a client."""

    @property
    def name(self) -> str:
        """Return the name in configs and records."""
        ...

    @property
    def server_sees(self) -> str:
        """Say in one sentence what the server learns of a single client."""
        ...

    @property
    def hides_clients(self) -> bool:
        """Tell whether no single party sees a client's own upload."""
        ...

    def coalitions(self, clients: int) -> Sequence[Coalition]:
        """Return who must conspire to read one client, in a cohort of so many: from the server
        alone on."""
        ...

    def open(self, task: Task) -> Session:
        """Start a round. Raises CapacityError where its sum might not fit."""
        ...


def flattened(uploads: Uploads, releases: Sequence[Release]) -> np.ndarray:
    """Return integer uploads as rows [clients, dims] int64, releases in their order."""
    parts = [uploads[r.name].dense() for r in releases]
    return torch.cat([flat(x) for x in parts], dim=1).to(torch.int64).numpy()


def split(total: np.ndarray, releases: Sequence[Release]) -> dict[str, Tensor]:
    """Cut a total [dims] back into releases of their shapes, int64."""
    out, start = {}, 0
    for release in releases:
        size = int(np.prod(release.shape))
        part = torch.from_numpy(total[start : start + size].astype(np.int64))
        out[release.name] = part.reshape(release.shape)
        start += size
    return out


def dims(releases: Sequence[Release]) -> int:
    """Return how many values one client's vector has."""
    return sum(int(np.prod(r.shape)) for r in releases)
