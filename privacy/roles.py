"""Name what releases are for."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """Name what a release is for, so that whoever needs one finds it without knowing its name.

    item_table: a row an item, which a client changes where it has interactions. item_counts: a row
    an item, one value wide: the interactions themselves. group_membership: a slot of the client's
    group. statistic, network, associations: a statistic of groups, the weights of a network,
    counts of what follows what. other: none of these.
    """

    ITEM_TABLE = "item_table"
    ITEM_COUNTS = "item_counts"
    GROUP_MEMBERSHIP = "group_membership"
    STATISTIC = "statistic"
    NETWORK = "network"
    ASSOCIATIONS = "associations"
    OTHER = "other"
