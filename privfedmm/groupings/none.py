"""No groups: every client works on the shared tables alone."""

from __future__ import annotations

from privfedmm.groupings.entry import GroupingEntry

NONE = GroupingEntry(
    name="none", summary="no groups; nothing about groups is sent", picked_by="nobody",
    build=lambda terms: None)
