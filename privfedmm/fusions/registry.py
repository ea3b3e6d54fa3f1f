"""The fusion modules there are; other packages add theirs by the group privfedmm.fusions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from privfedmm.base.registry import Registry


@dataclass(frozen=True, kw_only=True)
class FusionEntry:
    """Describes a fusion module as it is registered.

    build: maps the names of the inputs and the latent size to a module from name ->
    [groups, items, dim] to [groups, items, dim].
    """

    name: str
    summary: str
    build: Callable[[list[str], int], nn.Module]
    reference: str = ""


FUSIONS: Registry[FusionEntry] = Registry("fusions", "fusion module", {
    name: f"privfedmm.fusions.modules:{name.upper()}"
    for name in ("sum", "mlp", "gate", "moe", "attention")})
