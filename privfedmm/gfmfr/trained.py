"""What a block of clients holds after its training, from which uploads are made."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from privfedmm.devices.samples import Samples
from privfedmm.gfmfr.client import Local, Trace


@dataclass(frozen=True)
class Trained:
    """Holds a trained block of m clients.

    before [m, L, width]: its shared rows as they were broadcast. factor [m]: what weight decay has
    left of a row. signal [m, D]: what its clients picked their groups by, None where they pick
    none. group [m]: the group of each client.
    """

    drawn: Samples
    local: Local
    before: Tensor
    factor: Tensor
    trace: Trace
    signal: Tensor | None
    group: Tensor
