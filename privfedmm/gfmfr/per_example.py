"""The backbone with every single interaction protected on the device (DP-SGD on each client)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from privacy import Dense, OnDevice, Release, Role, Totals, Uploads
from privfedmm.backbones.registry import BACKBONES
from privfedmm.data.types import Rows
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.client import rates
from privfedmm.gfmfr.examples import (
    Examples,
    draw_examples,
    example_blocks,
    train_examples,
    train_home,
)
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.gfmfr.state import Clients, Plan, ServerState
from privfedmm.groupings import GROUPINGS

ITEM_UPDATE = "item_update"


class PerExample(GFMFR):
    """Trains matrix factorisation whose clients clip and noise each step by interaction.

    rank: the number of public directions that the item update is confined to; 0 for the whole
    table. Clients' `user` is trained with noise and feeds the uploads; `user_average` without, for
    scores alone. Raises ValueError for settings under which one interaction would touch more than
    its example.
    """

    def __init__(
        self,
        settings: AlgorithmSettings,
        train_rows: Rows,
        features: FeatureViews,
        rounds: int,
        seed: int,
        on_device: OnDevice,
        rank: int = 0,
    ) -> None:
        check_examples(settings)
        super().__init__(settings, train_rows, features, rounds, seed)
        if on_device.steps != settings.local.epochs:
            raise ValueError(f"the noise is priced for {on_device.steps} steps a round, but "
                             f"local.epochs is {settings.local.epochs}")
        if features.num_items < 2:
            raise ValueError("an example needs another item for its negatives; there is only one")
        self.on_device = on_device
        self._basis = features.subspace(rank) if rank else None
        self._directions = features.num_items if self._basis is None else self._basis.shape[1]

    @property
    def releases(self) -> tuple[Release, ...]:
        """Return the item update of a device that trained with noise."""
        where = "all rows" if self._basis is None else "public directions"
        return (Release(ITEM_UPDATE, (self._directions, self.backbone.width),
                        meaning=f"noisy change of the shared item table, {where}",
                        role=Role.ITEM_TABLE if self._basis is None else Role.OTHER),)

    def blocks(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Yield clients of like example count, so that the floats of a block are bounded."""
        width = self.backbone.width
        each = 1 + self.settings.local.negatives_per_positive
        wide = width if self._basis is None else max(self._directions, width)
        return example_blocks(ids, self._train.counts, each * wide, self._directions * width)

    def local(self, plan: Plan, ids: np.ndarray, clients: Clients) -> tuple[Uploads, Tensor]:
        """Train clients ids [m] in place, and return their uploads and training losses [m]."""
        s, who = self.settings.local, torch.from_numpy(ids)
        examples = draw_examples(
            self._train, ids, self._items, s.negatives_per_positive, self._seed, plan.round)
        rate = rates(s, plan.round, self._items)
        trained = train_examples(
            self.backbone, clients.user[who], plan.items, self._basis, examples, self.on_device,
            s, rate, plan.round)
        clients.user[who] = trained.user
        self._train_home(plan, ids, clients, examples)
        return {ITEM_UPDATE: Dense(trained.change)}, trained.loss

    def adopt(self, state: ServerState, clients: Clients, ids: np.ndarray) -> None:
        """Train the user vectors of clients ids [m] that score; those for uploads stay unused."""
        final, s = self.plan(state), self.settings.local
        for block in self.blocks(ids):
            for round_ in range(state.round):
                self._train_home(replace(final, round=round_), block, clients, draw_examples(
                    self._train, block, self._items, s.negatives_per_positive, self._seed, round_))

    def _train_home(
        self, plan: Plan, ids: np.ndarray, clients: Clients, examples: Examples
    ) -> None:
        """Train the vectors that score, without noise: they feed no upload."""
        who, s = torch.from_numpy(ids), self.settings.local
        clients.user_average[who] = train_home(
            self.backbone, clients.user_average[who], plan.items, examples, s,
            rates(s, plan.round, self._items))

    def noisy_state(self, clients: Clients) -> Mapping[str, Tensor]:
        """Return the user vectors that feed the next uploads."""
        return {"user": clients.user}

    def step(self, state: ServerState, totals: Totals) -> ServerState:
        """Return the next state, a post-processing of the noisy sum."""
        change = totals.sums[ITEM_UPDATE]
        if self._basis is not None:
            change = self._basis @ change
        return super().step(state, replace(totals, sums={ITEM_UPDATE: change}))


def check_examples(s: AlgorithmSettings) -> None:
    """Check that no interaction touches more than its own example.

    Raises ValueError, naming field and fix, where one would.
    """
    local = s.local
    wrong = {
        f"model.backbone: per-example gradients are not written for {s.model.backbone}; take mf, "
        "or unit user": not BACKBONES.get(s.model.backbone).per_example,
        "groups.grouping: a group signal tells of all of a user's interactions; set none":
            GROUPINGS.get(s.groups.grouping).picked_by != "nobody",
        "model.private_table: private rows carry one interaction into other examples; set none":
            s.model.private_table != "none",
        "associations.weight: an association is of two interactions; set 0":
            s.associations.weight != 0,
        "local.batch_size: noise is priced for full batches; set 0": local.batch_size != 0,
        "local.loss: a mean divides by the number of interactions, which is protected; set sum":
            local.loss != "sum",
        "local.negatives: under unit interaction they are drawn anew each round; set fresh":
            local.negatives != "fresh",
        "local.alpha, local.beta: regularisers of touched rows tell which are touched; set 0":
            bool(local.alpha or local.beta),
        "local.weight_decay_items: decay on the device would reach rows outside the public "
        "directions; set 0": local.weight_decay_items != 0,
    }
    for sentence, found in wrong.items():
        if found:
            raise ValueError(sentence)
