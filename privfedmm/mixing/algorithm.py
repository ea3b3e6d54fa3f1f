"""A method whose score is weighed part by part, by an item of each user that training never saw.

A method's score is a sum of parts (popularity, taste, what goes with what, trained tables): how
much each deserves depends on the data and on the noise. Every user has one item beside the training
rows, the validation item, which is in no upload of training. When training is over, each device
tells in a few numbers how the weights should move for that item to be likelier (regression.py),
which is a release like any other. Beside the method's parts there is one that needs no release at
all, how alike an item is to the user's in public content, so that what noise has drowned can be
left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from privacy import Dense, Release, Role, Totals, Uploads
from privfedmm.data.types import Rows
from privfedmm.devices.profiles import own_items, profile_cosine
from privfedmm.federation.types import Algorithm, Saved, hash_tensors
from privfedmm.mixing.regression import moments, stepped
from privfedmm.mixing.settings import MixSettings

CONTENT = "public content"
MOMENTS = "mix_moments"
# A user's numbers are mostly shorter than this, and are clipped there: in the joint vector they
# count by its inverse (measured: of 943 users 2% are longer).
NORM = 3.0
_FLOATS = 16_000_000  # of a block's parts


@dataclass(frozen=True)
class MixedState:
    """Holds the method's state, and the weights.

    round: the number of rounds played. method: the method's own state. weights [p]: of the parts.
    """

    round: int
    method: Any
    weights: Tensor


@dataclass(frozen=True)
class MixedPlan:
    """Holds what clients are told: the method's own plan, and in rounds of the mix its state and
    the weights so far."""

    round: int
    method: Any
    state: Any
    weights: Tensor


class Mixed:
    """Plays a method, then weighs the parts of its scores.

    rounds: those of the method. train: its training rows. item [users]: the item that judges, -1
    for a user without one. unit: modality -> unit rows [items, F], of the public content. cold
    [items] bool: in no training, and so no candidates for what judges.
    """

    def __init__(
        self, settings: MixSettings, method: Algorithm, rounds: int, train: Rows, items: int,
        item: np.ndarray, unit: Mapping[str, Tensor], cold: np.ndarray | None = None,
    ) -> None:
        self._settings, self._method, self._rounds = settings, method, rounds
        self._train, self._items, self._unit = train, items, unit
        self._item = torch.from_numpy(item.astype(np.int64))
        self._cold = None if cold is None else torch.from_numpy(cold)
        self._names: tuple[str, ...] | None = None

    # What leaves a client -------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the parts, in the order of the weights."""
        if self._names is None:
            state = replace(self._method.initial_state(), round=self._rounds)
            own = self._method.explain(state, self._method.initial_clients(), np.arange(1))
            self._names = (*own, *([CONTENT] if self._unit else []))
        return self._names

    @property
    def releases(self) -> tuple[Release, ...]:
        """Return the method's releases, in its own rounds, and those of the mix after them."""
        size, first, steps = len(self.names), self._rounds, self._settings.steps
        out = [r if r.rounds is not None else replace(r, rounds=tuple(range(r.since, first)))
               for r in self._method.releases]
        out.append(Release(
            MOMENTS, (size + size * (size + 1) // 2,), role=Role.STATISTIC,
            rounds=tuple(range(first, first + steps)),
            meaning="how the weights of a score's parts should move for the item that judges"))
        return tuple(out)

    @property
    def joint_weights(self) -> Mapping[str, float]:
        """Return the method's weights; a user's numbers for the mix count by their usual length."""
        return {**self._method.joint_weights, MOMENTS: 1 / NORM}

    @property
    def public_features(self) -> Mapping[str, np.ndarray]:
        """Return the features that the method reads."""
        return self._method.public_features

    def subspace(self, rank: int) -> Mapping[str, Tensor]:
        """Return the method's public directions by release."""
        return self._method.subspace(rank)

    def blocks(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the clients in the method's own blocks."""
        return self._method.blocks(ids)

    # State ----------------------------------------------------------------------------------

    def initial_state(self) -> MixedState:
        """Return the method's first state, and weights that leave its score as it is."""
        return MixedState(0, self._method.initial_state(), self._default())

    def initial_clients(self) -> Any:
        """Return the method's first clients."""
        return self._method.initial_clients()

    def _default(self) -> Tensor:
        return torch.tensor([0.0 if name == CONTENT else 1.0 for name in self.names])

    def plan(self, state: MixedState) -> MixedPlan:
        """Return the method's plan; in rounds of the mix its finished state, and the weights."""
        if state.round < self._rounds:
            return MixedPlan(state.round, self._method.plan(state.method), None, state.weights)
        return MixedPlan(state.round, None, state.method, state.weights)

    def plan_bytes(self, plan: MixedPlan) -> int:
        """Return the bytes of the weights and of the method's plan; in rounds of the mix, of its
        whole state."""
        own = (sum(x.nbytes for x in _tensors(plan.state)) if plan.method is None
               else self._method.plan_bytes(plan.method))
        return own + plan.weights.nbytes

    def plan_hash(self, plan: MixedPlan) -> bytes:
        """Return the SHA-256 of round, weights, and the method's own hash; in rounds of the mix, of
        every tensor of its state, for devices compute with all of them."""
        if plan.method is None:
            return hash_tensors(plan.round, [plan.weights, *_tensors(plan.state)])
        own = torch.frombuffer(bytearray(self._method.plan_hash(plan.method)), dtype=torch.uint8)
        return hash_tensors(plan.round, [plan.weights, own])

    # On the device --------------------------------------------------------------------------

    def local(
        self, plan: MixedPlan, ids: np.ndarray, clients: Any
    ) -> tuple[Uploads, Tensor]:
        """Train clients ids [m] in place, or tell what their own items say of the weights."""
        if plan.method is not None:
            return self._method.local(plan.method, ids, clients)
        told, losses = [], []
        for block in self._small(ids):
            parts = self._parts(plan.state, clients, block)
            item = self._item[torch.from_numpy(block)]
            candidates = self._candidates(block)
            told.append(moments(parts, item, candidates, plan.weights))
            losses.append(_loss(parts, item, candidates, plan.weights))
        return {MOMENTS: Dense(torch.cat(told))}, torch.cat(losses)

    def _candidates(self, ids: np.ndarray) -> Tensor:
        """What could be recommended to clients ids [m, items] bool."""
        others = own_items(self._train, ids, self._items) == 0
        return others if self._cold is None else others & ~self._cold

    def _small(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Blocks in which all parts of all scores fit."""
        size = max(1, _FLOATS // (self._items * len(self.names)))
        for start in range(0, len(ids), size):
            yield ids[start : start + size]

    def _parts(self, state: Any, clients: Any, ids: np.ndarray) -> Tensor:
        """The parts of the scores of clients ids: [m, items, p]."""
        own = self._method.explain(state, clients, ids)
        parts = [own[name] for name in self.names if name != CONTENT]
        if self._unit:
            parts.append(torch.stack([
                profile_cosine(self._train, ids, unit) for unit in self._unit.values()]).mean(0))
        return torch.stack(torch.broadcast_tensors(*parts), dim=2)

    def adopt(self, state: MixedState, clients: Any, ids: np.ndarray) -> None:
        """Make the devices of clients ids [m] ready to score with the finished model."""
        self._method.adopt(state.method, clients, ids)

    def scores(self, state: MixedState, clients: Any, ids: np.ndarray) -> Tensor:
        """Return the weighted sum of the parts [m, items]."""
        if bool((state.weights == self._default()).all()):
            return self._method.scores(state.method, clients, ids)
        return torch.cat([self._parts(state.method, clients, block) @ state.weights
                          for block in self._small(ids)])

    def explain(
        self, state: MixedState, clients: Any, ids: np.ndarray
    ) -> Mapping[str, Tensor]:
        """Return each part times its weight: [m, items] by name."""
        parts = self._parts(state.method, clients, ids) * state.weights
        return {name: parts[:, :, k] for k, name in enumerate(self.names)}

    # On the server --------------------------------------------------------------------------

    def step(self, state: MixedState, totals: Totals) -> MixedState:
        """Return the next state: the method's own, or moved weights."""
        at = replace(state, round=state.round + 1)
        if state.round < self._rounds:
            return replace(at, method=self._method.step(state.method, totals))
        return replace(at, weights=stepped(
            state.weights, totals.sums[MOMENTS], totals.noise_stddev.get(MOMENTS, 0.0),
            self._default(), self._settings.prior))

    # Checkpoints ----------------------------------------------------------------------------

    def to_saved(self, state: MixedState, clients: Any) -> Saved:
        """Return the method's two halves, with the weights in the released one."""
        own = self._method.to_saved(state.method, clients)
        mix = {"round": state.round, "weights": state.weights.clone(), "parts": list(self.names)}
        return Saved({**own.released, "mix": mix}, own.devices)

    def from_saved(self, saved: Saved) -> tuple[MixedState, Any]:
        """Restore state and clients from what `to_saved` returned."""
        mix = saved.released["mix"]
        rest = {name: value for name, value in saved.released.items() if name != "mix"}
        method, clients = self._method.from_saved(Saved(rest, saved.devices))
        return MixedState(mix["round"], method, mix["weights"]), clients

    def group_of(self, clients: Any, ids: np.ndarray) -> np.ndarray | None:
        """Return the group that each of clients ids is in [m], or None without groups."""
        return self._method.group_of(clients, ids)

    def take_groups(self, clients: Any, ids: np.ndarray, groups: np.ndarray) -> None:
        """Write the groups [m] that nodes reported."""
        self._method.take_groups(clients, ids, groups)

    def groups_of(self, saved: Saved) -> tuple[str, np.ndarray, int] | None:
        """Return the method's groups of a saved model, or None without groups."""
        return self._method.groups_of(saved)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of a state, in the order of its fields; whole numbers as such."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, int | float):
        yield torch.tensor([float(value)], dtype=torch.float64)
    elif is_dataclass(value):
        for part in fields(value):
            yield from _tensors(getattr(value, part.name))
    elif isinstance(value, Mapping):
        for _, inner in sorted(value.items()):
            yield from _tensors(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for inner in value:
            yield from _tensors(inner)
    elif value is not None:
        raise TypeError(f"a state holds {type(value).__name__}, of which no hash is known")


def weights_of(saved: Saved) -> Mapping[str, float] | None:
    """Return the weight of each part of a saved model's scores by name; None without a mix."""
    mix = saved.released.get("mix")
    return None if mix is None else dict(zip(mix["parts"], mix["weights"].tolist(), strict=True))


def _loss(parts: Tensor, item: Tensor, candidates: Tensor, weights: Tensor) -> Tensor:
    """The log loss of each client's item that judges [m], 0 for who withheld none."""
    chance = (parts @ weights).masked_fill(~candidates, -torch.inf).log_softmax(1)
    own = chance[torch.arange(len(parts)), item.clamp(min=0)]
    return torch.where(item >= 0, -own, 0.0)
