"""The types that meet in a round: what an algorithm offers, and what a backend does with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from privacy import Cohort, OnDevice, PrivacyStack, Release, Totals, Uploads
from privacy.aggregator import Sums


@dataclass(frozen=True)
class Costs:
    """Holds the costs of one round.

    What begins with `simulation` is no release and exists only where one process plays all clients:
    the mean training loss; the number of clients whose upload was unusable and counted as zero, or
    was longer than the clip; the largest absolute value of an upload, weighted as in the clip, in
    the first round of sums on a grid, else None. bytes_down_per_client: the bytes of the plan
    and of the protocol's messages. protocol_seconds: the seconds by party (CPU seconds, but for
    waiting), in a protocol that counts them.
    """

    client_cpu_seconds: float
    bytes_up_per_client: float
    bytes_down_per_client: float
    simulation_loss: float
    simulation_zeroed: int = 0
    simulation_shortened: int = 0
    simulation_largest: float | None = None
    survivors: int = 0
    protocol_seconds: Mapping[str, float] = field(default_factory=dict)


def hash_tensors(round_: int, tensors: Iterable[Tensor]) -> bytes:
    """Return the SHA-256 of a round's number and tensors, shapes included."""
    digest = hashlib.sha256(str(round_).encode())
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.digest()


@dataclass(frozen=True)
class Saved:
    """Holds a model in two halves, each of tensors and plain values, in dictionaries by name.

    released: a function of released values and of what is public, alone: whoever may see the
    releases may have it, and nothing in it grows with the number of users. devices: what devices
    keep, which in a deployment no server ever has.
    """

    released: dict[str, Any]
    devices: dict[str, Any]

    @classmethod
    def of_old(cls, saved: Mapping[str, Any]) -> Saved:
        """Return the halves of a checkpoint from before there were two: clients, and all else."""
        return cls({n: x for n, x in saved.items() if n != "clients"},
                   {"clients": saved["clients"]})


class Algorithm(Protocol):
    """Defines a federated method.

    Server state, plan and client state are opaque to the backend, but for `round`, which state and
    plan have: the rounds played so far, and the round that is planned.
    """

    @property
    def releases(self) -> tuple[Release, ...]:
        """Return the releases, which declare what leaves a client each round."""
        ...

    @property
    def joint_weights(self) -> Mapping[str, float]:
        """Return the public weight of each release in the joint vector that a mechanism clips."""
        ...

    @property
    def public_features(self) -> Mapping[str, np.ndarray]:
        """Return the item features that clients compute with, as given: modality -> [items, F].

        The mapping is empty where they use none.
        """
        ...

    def initial_state(self) -> Any:
        """Return the server's state before the first round."""
        ...

    def initial_clients(self) -> Any:
        """Return the state that stays on the clients, before the first round."""
        ...

    def plan(self, state: Any) -> Any:
        """Return what all clients are told in a round; it is the same for everyone."""
        ...

    def plan_bytes(self, plan: Any) -> int:
        """Return the number of bytes of a plan on the wire."""
        ...

    def plan_hash(self, plan: Any) -> bytes:
        """Return the SHA-256 of a plan: two clients that were told the same find the same."""
        ...

    def subspace(self, rank: int) -> Mapping[str, Tensor]:
        """Return public orthonormal columns [rows, <= rank + 1] by release.

        The release's sum may be confined to them; the mapping is empty where there are none. Raises
        ValueError where the data has no features.
        """
        ...

    def blocks(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the clients in blocks that train side by side."""
        ...

    def local(self, plan: Any, ids: np.ndarray, clients: Any) -> tuple[Uploads, Tensor]:
        """Train clients ids [m] in place, and return their uploads and training losses [m]."""
        ...

    def step(self, state: Any, totals: Totals) -> Any:
        """Return the server's next state, a post-processing of the totals."""
        ...

    def scores(self, state: Any, clients: Any, ids: np.ndarray) -> Tensor:
        """Return the scores [m, items] of every item on the devices of clients ids [m]."""
        ...

    def explain(self, state: Any, clients: Any, ids: np.ndarray) -> Mapping[str, Tensor]:
        """Return named parts that add up to `scores`, each [m, items].

        A modality has a part of its own where one is defined.
        """
        ...

    def adopt(self, state: Any, clients: Any, ids: np.ndarray) -> None:
        """Make the devices of clients ids [m] ready to score with a finished model, in place.

        It is the method's own step on the device, against what was released: nothing is uploaded
        and the server's state stays as it is. A user who took no part in the run comes in here.
        """
        ...

    def to_saved(self, state: Any, clients: Any) -> Saved:
        """Return state, clients and all that a later round needs, in the two halves of `Saved`."""
        ...

    def from_saved(self, saved: Saved) -> tuple[Any, Any]:
        """Restore state and clients from what `to_saved` returned."""
        ...

    def group_of(self, clients: Any, ids: np.ndarray) -> np.ndarray | None:
        """Return the group of each of clients ids, int64 [m], or None where there are no groups."""
        ...

    def take_groups(self, clients: Any, ids: np.ndarray, groups: np.ndarray) -> None:
        """Write the groups [m] that nodes reported of clients ids, for the record of a run."""
        ...

    def groups_of(self, saved: Saved) -> tuple[str, np.ndarray, int] | None:
        """Return the kind of grouping, each client's group [n] in a saved model, and their number.

        It is None where the method has no groups.
        """
        ...


@runtime_checkable
class TrainsOnDevice(Protocol):
    """Defines an algorithm whose devices add noise while they train, so that uploads need none."""

    @property
    def on_device(self) -> OnDevice:
        """Return the clip and the noise of every step."""
        ...

    def noisy_state(self, clients: Any) -> Mapping[str, Tensor]:
        """Return what noisy training leaves on the devices for later uploads, not copied."""
        ...


class Backend(Protocol):
    """Carries a plan to the cohort and the uploads back through the gate."""

    def gather(
        self, algorithm: Algorithm, plan: Any, clients: Any, cohort: Cohort, stack: PrivacyStack
    ) -> tuple[Sums, Costs]:
        """Train the cohort, and return the sums of its uploads and what the round cost."""
        ...
