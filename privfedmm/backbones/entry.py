"""What a backbone declares of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from privfedmm.backbones.protocol import Backbone

# Item table [items, width], user vector [d] and network of one client -> a torch module.
Twin = Callable[[Tensor, Tensor, Mapping[str, Tensor]], nn.Module]


@dataclass(frozen=True, kw_only=True)
class BackboneEntry:
    """Describes a backbone as it is registered.

    build: maps a latent size to a backbone. twin: makes the same client as a torch module, for
    contract and benchmark, with the parameters `items.weight` [items, width], `user` [d] and, where
    there is a network, the others. public_subspace: whether its item update is a table whose rows
    may be confined to public directions without loss worth speaking of. per_example: whether
    gradients of single examples are written for it (privfedmm.gfmfr.examples). network: whether it
    has a small network that clients share. head: the names of the network's last layer, weight and
    bias, which a group's mean head takes. settings: nested settings of the section `algorithm` that
    go with it where none are given.
    """

    name: str
    summary: str
    build: Callable[[int], Backbone]
    reference: str = ""
    twin: Twin | None = None
    public_subspace: bool = False
    per_example: bool = False
    network: bool = False
    head: tuple[str, str] | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
