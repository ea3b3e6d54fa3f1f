"""The methods there are; other packages add theirs by the entry point group privfedmm.methods."""

from __future__ import annotations

from privfedmm.base.registry import Registry
from privfedmm.methods.entry import Method

METHODS: Registry[Method] = Registry("methods", "method", {
    "gfmfr": "privfedmm.gfmfr.method:GFMFR_METHOD",
    "backbone": "privfedmm.gfmfr.method:BACKBONE_METHOD",
    "local": "privfedmm.gfmfr.method:LOCAL_METHOD",
    "group_statistics": "privfedmm.statistics.method:GROUP_STATISTICS",
    "taste": "privfedmm.statistics.method:TASTE",
    "popularity": "privfedmm.statistics.method:POPULARITY",
    "popularity_profile": "privfedmm.statistics.method:POPULARITY_PROFILE",
})
