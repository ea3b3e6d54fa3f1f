"""Settings of GFMFR that do not fit together."""

from __future__ import annotations

from privfedmm.backbones import BACKBONES
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.groupings import GROUPINGS


def check(s: AlgorithmSettings) -> None:
    """Check that settings fit together. Raises ValueError, naming field and fix, where they do not.
    """
    backbone, grouping = BACKBONES.get(s.model.backbone), GROUPINGS.get(s.groups.grouping)
    clustered = grouping.picked_by == "server"
    if clustered and not backbone.network:
        raise ValueError(f"groups.grouping: {grouping.name!r} clusters the clients' networks, and "
                         f"the backbone {backbone.name!r} has none; use backbone "
                         f"{_with_network()}, or grouping private")
    if s.associations.weight and s.opening.on and s.opening.association_rank != 0:
        raise ValueError("associations.weight: the opening counts what goes with what already; set "
                         "it to 0, or opening.association_rank to 0")
    if s.distillation.teacher == "mean_head" and not backbone.head:
        raise ValueError("distillation.teacher: 'mean_head' needs the head of backbone "
                         f"{_with_network()}; use group_user")
    if s.distillation.weight and grouping.picked_by == "nobody":
        raise ValueError("distillation.weight: distillation needs groups; set groups.grouping, "
                         "or weight 0")
    if clustered != (s.distillation.teacher == "mean_head"):
        by_server = ", ".join(repr(e.name) for e in GROUPINGS if e.picked_by == "server")
        raise ValueError("distillation.teacher: 'mean_head' goes with groups.grouping = "
                         f"{by_server}, 'group_user' with every other")


def _with_network() -> str:
    """Names of the backbones that have a network with a head."""
    return " or ".join(e.name for e in BACKBONES if e.network and e.head)
