"""Say where noise is added, and what follows from that alone."""

from __future__ import annotations

from enum import StrEnum


class Place(StrEnum):
    """A place is where the noise of a release is added; its value is the word in configs and
    records.

    CENTRAL: on the sum, by whoever holds it. LOCAL: on each client's own vector, by the client.
    DISTRIBUTED: in shares of the clients, which make up the noise inside a secure sum.
    """

    CENTRAL = "central"
    LOCAL = "local"
    DISTRIBUTED = "distributed"

    @property
    def on_sum(self) -> bool:
        """Tell whether the noise is added to the sum: its holder sees the bare one."""
        return self is Place.CENTRAL

    @property
    def alone(self) -> bool:
        """Tell whether each client's vector is protected by itself, whoever reads it."""
        return self is Place.LOCAL

    @property
    def in_shares(self) -> bool:
        """Tell whether each client adds a share, and only a sum of enough of them protects."""
        return self is Place.DISTRIBUTED
