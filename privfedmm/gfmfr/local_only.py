"""Every client trains for itself: what GFMFR's client reaches when nothing is sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from privacy import Release, Totals, Uploads
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.state import Clients, Plan, ServerState


class LocalOnly(GFMFR):
    """Trains clients on the server's first tables; for settings without groups and distillation."""

    @property
    def releases(self) -> tuple[Release, ...]:
        """Return an empty tuple: nothing leaves a client."""
        return ()

    def local(self, plan: Plan, ids: np.ndarray, clients: Clients) -> tuple[Uploads, Tensor]:
        """Train clients ids [m] in place; there is nothing to upload. Return their losses [m]."""
        return {}, self.train_block(plan, ids, clients).trace.loss

    def step(self, state: ServerState, totals: Totals) -> ServerState:
        """Return the state with the round counted: the server has heard nothing."""
        return replace(state, round=state.round + 1)
