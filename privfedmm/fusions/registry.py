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

    def words(self) -> list[str]:
        """Return what it can, for a table: whether it has weights to train, read off a small one.
        """
        module = self.build(["text", "image"], 2)
        return ["trained"] if any(True for _ in module.parameters()) else []


FUSIONS: Registry[FusionEntry] = Registry("fusions", "fusion module", {
    name: f"privfedmm.fusions.modules:{name.upper()}"
    for name in ("sum", "mlp", "gate", "moe", "attention")}, section="algorithm.fusion")
