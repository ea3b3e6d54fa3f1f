"""Group statistics and the controls that release fewer parts of them, as methods."""

from __future__ import annotations

from typing import Any

from privfedmm.federation.types import Algorithm
from privfedmm.methods.entry import Asked, Build, Can, Method, Public
from privfedmm.statistics.settings import StatisticsSettings

SECTION = "statistics"


def _settle(settings: StatisticsSettings, public: Public) -> tuple[StatisticsSettings, int]:
    """Groups and rank by users and noise, and the rounds that they need."""
    from privfedmm.statistics.rules import public_groups, public_rank, public_weight

    groups = public_groups(settings, public.users, public.noise_stddev)
    rank = public_rank(settings, public.users, public.items, public.noise_stddev)
    weight = public_weight(settings, public.users, public.noise_stddev)
    settled = settings.model_copy(update={
        "groups": groups, "association_rank": rank, "association_weight": weight})
    return settled, 1 + bool(groups) + bool(rank)


def _build(b: Build) -> Algorithm:
    from privfedmm.base.features import select
    from privfedmm.statistics.algorithm import GroupStatistics
    from privfedmm.statistics.public import PublicItems

    data, settings = b.data, b.settings
    chosen = select(data.features, b.modalities)
    return GroupStatistics(
        settings, data.train, PublicItems(chosen, data.num_items, settings, data.present), b.seed,
        b.noise_stddev, data.train_age)


def _travels(settings: StatisticsSettings) -> tuple[type, ...]:
    from privfedmm.statistics.state import StatisticsClients, StatisticsState

    return StatisticsState, StatisticsClients


def _method(
    name: str, summary: str, rounds: int, fixed: dict[str, Any], groups: bool = False
) -> Method:
    def defaults(asked: Asked) -> dict[str, Any]:
        mix = groups and not asked.reference and asked.given("dp", "unit") != "interaction"
        return {SECTION: fixed, "rounds": rounds, **({"mix": {"on": True}} if mix else {})}

    return Method(
        name=name, summary=summary, settings=StatisticsSettings, section=SECTION,
        reference="this project, docs/concepts.md",
        # Uploads have length 1 by construction: there is nothing for a clip to adapt to.
        can=Can(groups=groups, explains=True, adaptive_clip=False),
        defaults=defaults, settle=_settle, build=_build, travels=_travels)


GROUP_STATISTICS = _method(
    "group_statistics", "popularity, on-device taste, associations and group corrections, each "
    "released once; the default with --dp-epsilon", 3, {}, groups=True)
TASTE = _method(
    "taste", "released popularity with a taste fitted on the device", 1,
    {"groups": 0, "association_rank": 0, "recent_weight": 0.7})
POPULARITY_PROFILE = _method(
    "popularity_profile", "released popularity with an on-device profile (a control)", 1,
    {"groups": 0, "association_rank": 0, "personal": "cosine"})
POPULARITY = _method(
    "popularity", "released popularity alone (a control)", 1,
    {"groups": 0, "association_rank": 0, "personal": "none"})
