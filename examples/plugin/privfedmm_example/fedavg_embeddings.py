"""Federated embeddings with FedAvg: the smallest useful method (McMahan et al. 2017, alg. 1)."""

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from privacy import Release, Role, Totals, Touched, Uploads
from privfedmm.methods import Method, Settings, TensorMethod


class EmbeddingSettings(Settings):
    dim: int = Field(16, ge=1, description="Length of the vectors of users and items.")
    epochs: int = Field(5, ge=1, description="Passes over a client's samples in a round.")
    lr: float = Field(0.1, gt=0, description="Learning rate on the device.")
    server_lr: float = Field(10.0, gt=0, description="Factor of the mean update on the server.")


@dataclass
class State:
    round: int
    items: Tensor  # [items, dim]


@dataclass
class Devices:
    user: Tensor  # [users, dim]


class FedAvgEmbeddings(TensorMethod[State, Devices]):
    state_type, clients_type = State, Devices

    @property
    def releases(self) -> tuple[Release, ...]:
        return (Release("items", (self.items, self.settings.dim), role=Role.ITEM_TABLE),)

    def initial_state(self) -> State:
        return State(0, self.normal("example items", self.items, self.settings.dim) * 0.1)

    def initial_clients(self) -> Devices:
        return Devices(self.normal("example users", self.users, self.settings.dim) * 0.1)

    def local(self, plan: State, ids: np.ndarray, clients: Devices) -> tuple[Uploads, Tensor]:
        drawn, who = self.samples(ids, plan.round), torch.from_numpy(ids)
        user, rows, start = clients.user[who], plan.items[drawn.items], plan.items[drawn.items]
        for _ in range(self.settings.epochs):
            logits = torch.bmm(rows, user[:, :, None])[:, :, 0]
            slope = (torch.sigmoid(logits) - drawn.labels) * drawn.mask * self.settings.lr
            rows, user = (rows - slope[:, :, None] * user[:, None, :],
                          user - torch.bmm(slope[:, None, :], rows)[:, 0])
        clients.user[who] = user
        loss = (torch.nn.functional.softplus(logits) - logits * drawn.labels) * drawn.mask
        return {"items": Touched(drawn.items, rows - start, drawn.mask, self.items)}, loss.mean(1)

    def step(self, state: State, totals: Totals) -> State:
        mean = totals.sums["items"] / totals.cohort
        return State(state.round + 1, state.items + self.settings.server_lr * mean)

    def scores(self, state: State, clients: Devices, ids: np.ndarray) -> Tensor:
        return clients.user[torch.from_numpy(ids)] @ state.items.T


FEDAVG_EMBEDDINGS = Method(
    name="fedavg_embeddings", summary="federated user and item embeddings with FedAvg",
    reference="McMahan et al. 2017, algorithm 1", settings=EmbeddingSettings,
    build=FedAvgEmbeddings, travels=lambda settings: (State, Devices))
