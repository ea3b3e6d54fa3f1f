"""Ways of putting users into groups, by name in a registry."""

from privfedmm.groupings.base import ClientPicked, Grouping, ServerPicked
from privfedmm.groupings.entry import GroupingEntry, GroupingTerms
from privfedmm.groupings.registry import GROUPINGS
from privfedmm.groupings.settings import GroupSettings

__all__ = ["GROUPINGS", "ClientPicked", "GroupSettings", "Grouping", "GroupingEntry",
           "GroupingTerms", "ServerPicked"]
