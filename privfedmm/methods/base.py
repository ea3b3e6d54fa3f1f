"""A base for methods whose state is a dataclass of tensors: all that is the same for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from privacy import Release, Totals, Uploads
from privfedmm.base.settings import LocalSettings
from privfedmm.base.streams import normal
from privfedmm.devices.samples import Samples, draw_samples
from privfedmm.federation.types import Saved, hash_tensors
from privfedmm.methods.entry import Build

State = TypeVar("State")
Clients = TypeVar("Clients")


class TensorMethod(Generic[State, Clients]):
    """Implements all of a federated algorithm that does not make it one of its kind.

    A subclass names the dataclasses `state_type` (the server's state, which is also what clients
    are told: a field `round: int`, all others tensors) and `clients_type` (what stays on the
    devices: tensors [users, ...]), and writes `releases`, `initial_state`, `initial_clients`,
    `local`, `step` and `scores` (see privfedmm.federation.types.Algorithm). block: the number of
    clients that train side by side, at most.
    """

    state_type: ClassVar[type]
    clients_type: ClassVar[type]
    block: ClassVar[int] = 256

    def __init__(self, build: Build) -> None:
        """Keep what most methods need: settings, training rows, sizes and the seed."""
        self.settings = build.settings
        self.train = build.data.train
        self.users, self.items = build.data.num_users, build.data.num_items
        self.seed = build.seed

    def normal(self, purpose: str, count: int, width: int) -> Tensor:
        """Draw standard normal numbers [count, width] from a named stream of the run's seed."""
        return torch.from_numpy(normal(self.seed, purpose, 0, np.arange(count), width))

    def samples(self, ids: np.ndarray, round_: int, negatives: int = 4) -> Samples:
        """Draw positives of clients ids [m] and fresh negatives of a round, each item once, padded.
        """
        how = LocalSettings(negatives_per_positive=negatives)
        return draw_samples(self.train, ids, self.items, how, self.seed, round_)

    @property
    def releases(self) -> tuple[Release, ...]:
        """Return the releases, which declare what leaves a client each round."""
        raise NotImplementedError

    @property
    def joint_weights(self) -> Mapping[str, float]:
        """Return equal weights: a client's update is clipped as it is."""
        return {release.name: 1.0 for release in self.releases}

    @property
    def public_features(self) -> Mapping[str, np.ndarray]:
        """Return the item features that clients compute with.

        There are none unless a subclass says otherwise.
        """
        return {}

    def initial_state(self) -> State:
        """Return the server's state before the first round."""
        raise NotImplementedError

    def initial_clients(self) -> Clients:
        """Return the state that stays on the clients, before the first round."""
        raise NotImplementedError

    def local(self, plan: State, ids: np.ndarray, clients: Clients) -> tuple[Uploads, Tensor]:
        """Train clients ids [m] in place, and return their uploads and training losses [m]."""
        raise NotImplementedError

    def step(self, state: State, totals: Totals) -> State:
        """Return the server's next state, a post-processing of the totals."""
        raise NotImplementedError

    def scores(self, state: State, clients: Clients, ids: np.ndarray) -> Tensor:
        """Return the scores [m, items] of every item for clients ids [m]."""
        raise NotImplementedError

    def plan(self, state: State) -> State:
        """Return what all clients are told: the state as it is."""
        return state

    def plan_bytes(self, plan: State) -> int:
        """Return the number of bytes of a plan, as its tensors travel."""
        return sum(part.numel() * part.element_size() for part in _tensors(plan))

    def plan_hash(self, plan: State) -> bytes:
        """Return the SHA-256 of the round's number and all tensors."""
        return hash_tensors(plan.round, _tensors(plan))  # type: ignore[attr-defined]

    def blocks(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the clients in order, `block` at a time."""
        for start in range(0, len(ids), self.block):
            yield ids[start : start + self.block]

    def explain(self, state: State, clients: Clients, ids: np.ndarray) -> Mapping[str, Tensor]:
        """Return one part, the model's own score."""
        return {"model": self.scores(state, clients, ids)}

    def adopt(self, state: State, clients: Clients, ids: np.ndarray) -> None:
        """Train clients ids [m] in place against the finished model, as often as a run has rounds.

        What they would upload is dropped.
        """
        for block in self.blocks(ids):
            for round_ in range(state.round):  # type: ignore[attr-defined]
                self.local(replace(state, round=round_), block, clients)  # type: ignore[type-var]

    def to_saved(self, state: State, clients: Clients) -> Saved:
        """Return independent copies: of the state, which is released, and of the clients."""
        return Saved({"state": _copied(state)}, {"clients": _copied(clients)})

    def from_saved(self, saved: Saved) -> tuple[State, Clients]:
        """Restore state and clients from what `to_saved` returned."""
        return (self.state_type(**saved.released["state"]),
                self.clients_type(**saved.devices["clients"]))

    def group_of(self, clients: Clients, ids: np.ndarray) -> np.ndarray | None:
        """Return None: there are no groups unless a subclass says otherwise."""
        return None

    def take_groups(self, clients: Clients, ids: np.ndarray, groups: np.ndarray) -> None:
        """Do nothing: there are no groups."""

    def groups_of(self, saved: Saved) -> tuple[str, np.ndarray, int] | None:
        """Return None: there are no groups unless a subclass says otherwise."""
        return None

    def subspace(self, rank: int) -> Mapping[str, Tensor]:
        """Return public directions by release; there are none unless a subclass says otherwise."""
        return {}


def _tensors(value: Any) -> list[Tensor]:
    return [part for f in fields(value) if isinstance(part := getattr(value, f.name), Tensor)]


def _copied(value: Any) -> dict[str, Any]:
    parts = {f.name: getattr(value, f.name) for f in fields(value)}
    return {n: x.clone() if isinstance(x, torch.Tensor) else x for n, x in parts.items()}
