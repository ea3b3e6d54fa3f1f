"""What groups add to GFMFR, in one class for each answer to who picks them."""

from __future__ import annotations

from privfedmm.data.types import Rows
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.groups_by_clients import ByClients
from privfedmm.gfmfr.groups_by_server import ByServer
from privfedmm.gfmfr.server import Server
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.gfmfr.ungrouped import Ungrouped
from privfedmm.groupings import GROUPINGS
from privfedmm.groupings.entry import PickedBy

_PARTS: dict[PickedBy, type[Ungrouped]] = {
    "nobody": Ungrouped, "client": ByClients, "server": ByServer}


def part_for(
    settings: AlgorithmSettings, features: FeatureViews, train_rows: Rows, server: Server,
    seed: int,
) -> Ungrouped:
    """Return the part of GFMFR that goes with the grouping of the settings."""
    entry = GROUPINGS.get(settings.groups.grouping)
    return _PARTS[entry.picked_by](settings, features, train_rows, server, entry, seed)
