"""The backbones there are; other packages add theirs by the group privfedmm.backbones."""

from __future__ import annotations

from privfedmm.backbones.entry import BackboneEntry
from privfedmm.base.registry import Registry

BACKBONES: Registry[BackboneEntry] = Registry("backbones", "backbone", {
    "mf": "privfedmm.backbones.mf:MF",
    "fedrap": "privfedmm.backbones.fedrap:FEDRAP",
}, section="algorithm.model")
