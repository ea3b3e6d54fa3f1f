"""The groupings there are; other packages add theirs by the group privfedmm.groupings."""

from __future__ import annotations

from privfedmm.base.registry import Registry
from privfedmm.groupings.entry import GroupingEntry

GROUPINGS: Registry[GroupingEntry] = Registry("groupings", "grouping", {
    name: f"privfedmm.groupings.{name}:{name.upper()}"
    for name in ("private", "reference", "none")}, section="algorithm.groups")
