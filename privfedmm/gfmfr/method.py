"""GFMFR, its backbone alone, and training without sending anything, as methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from privfedmm.backbones.registry import BACKBONES
from privfedmm.federation.types import Algorithm
from privfedmm.gfmfr.settings import (
    OPENED_ROUNDS,
    PRIVATE_ROUNDS,
    AlgorithmSettings,
    backbone_only,
    default_settings,
    local_only,
    opened_updates,
    private_updates,
    reference_settings,
)
from privfedmm.methods.entry import Asked, Build, Can, Method, Public
from privfedmm.statistics.settings import StatisticsSettings

if TYPE_CHECKING:
    from privfedmm.gfmfr.feature_views import FeatureViews
    from privfedmm.gfmfr.opening import NoOpening

SUBSPACE_RANK = 64  # of the groups' item updates, where they are sent in full length
SECTION = "algorithm"
_PAPER = "GFMFR, arXiv 2509.19955"


def algorithm_defaults(asked: Asked) -> AlgorithmSettings:
    """Return the section `algorithm` for what is asked, before noise changes it."""
    backbone = str(asked.given("algorithm", "model", "backbone") or "mf")
    if backbone not in BACKBONES:
        return AlgorithmSettings()  # refused, with those there are, when the config is validated
    base = reference_settings() if asked.reference else default_settings(backbone)
    if asked.secure and BACKBONES.get(backbone).public_subspace:
        # Every value is sent then, and one group's table after the other is most of them. In a
        # subspace mf loses nothing on validation, fedrap a tenth (docs/results).
        groups = base.groups.model_copy(update={"adapter_rank": SUBSPACE_RANK})
        base = base.model_copy(update={"groups": groups})
    return base


def _defaults(asked: Asked) -> dict[str, Any]:
    base = algorithm_defaults(asked)
    if not asked.private:
        return {SECTION: base.model_dump()}
    # Noise grows with the root of the rounds, and with what is released beside the table.
    private = base.model_copy(update=private_updates(base))
    return {SECTION: private.model_dump(), "rounds": PRIVATE_ROUNDS}


def _opened_defaults(asked: Asked) -> dict[str, Any]:
    """Of gfmfr: a run begins with an opening, but where each interaction is protected, or where a
    clip learns from every round, which then has the same share of the budget."""
    even = asked.given("dp", "unit") == "interaction" or asked.given("dp", "clipping") == "adaptive"
    if asked.reference or even or asked.given("algorithm", "opening", "on") is False:
        return _defaults(asked)
    base = algorithm_defaults(asked)
    if not asked.private:
        opened = base.model_copy(update=opened_updates(base))
        return {SECTION: opened.model_dump(), "mix": {"on": True}}
    alone = base.model_copy(update={
        name: section for name, section in private_updates(base).items()
        if name in ("groups", "distillation")})
    opened = alone.model_copy(update=opened_updates(alone))
    # Content directions cannot say how popular an item is, so updates keep their whole length.
    return {SECTION: opened.model_dump(), "rounds": OPENED_ROUNDS, "dp": {"subspace_rank": 0},
            "mix": {"on": True}}


def _settle(settings: AlgorithmSettings, public: Public) -> tuple[AlgorithmSettings, int]:
    from privfedmm.gfmfr.planner import plan_rounds

    planned = plan_rounds(settings, public)
    return planned.settings, planned.rounds


def _before(settings: AlgorithmSettings) -> int:
    from privfedmm.gfmfr.planner import MOST

    return MOST if settings.opening.on else 0


def _told(settings: AlgorithmSettings, public: Public) -> str:
    from privfedmm.gfmfr.planner import plan_rounds

    return plan_rounds(settings, public).told if public.noise_stddev else ""


def _portions(settings: AlgorithmSettings, rounds: int) -> Sequence[float]:
    from privfedmm.gfmfr.planner import portions

    return portions(settings, rounds)


def _travels(settings: AlgorithmSettings) -> tuple[type, ...]:
    from privfedmm.gfmfr.state import Clients, Plan, ServerState
    from privfedmm.groupings.centroids import Centroids
    from privfedmm.statistics.state import StatisticsClients, StatisticsState

    return Plan, Centroids, ServerState, Clients, StatisticsState, StatisticsClients


def _timed(settings: AlgorithmSettings, timed: bool) -> AlgorithmSettings:
    """Associations are on where the data has times."""
    return settings.model_copy(update={"associations": settings.associations.settled(timed)})


def _parts(settings: AlgorithmSettings) -> dict[str, str]:
    return {"backbone": settings.model.backbone, "grouping": settings.groups.grouping,
            "fusion": settings.fusion.module}


def build(b: Build, settings: AlgorithmSettings) -> Algorithm:
    """Return the algorithm of these settings. Raises ValueError where they do not fit the data."""
    # Imported where an algorithm is built: a list of methods needs none of it.
    from privfedmm.base.features import select
    from privfedmm.gfmfr.algorithm import GFMFR
    from privfedmm.gfmfr.feature_views import FeatureViews
    from privfedmm.gfmfr.per_example import PerExample

    data = b.data
    if b.dp_sgd is not None:
        if settings.opening.on:
            raise ValueError("algorithm.opening.on: unit interaction puts the noise into training, "
                             "and an opening's sums follow from whole users; set it to false")
        chosen = select(data.features, settings.modalities)
        return PerExample(
            settings, data.train, FeatureViews(chosen, data.num_items, settings), b.rounds, b.seed,
            b.dp_sgd, rank=b.subspace_rank if chosen else 0)
    return GFMFR(settings, data.train, _views(b, settings), b.rounds, b.seed, data.train_age,
                 _opening(b, settings))


def _opening(b: Build, settings: AlgorithmSettings) -> NoOpening | None:
    from privfedmm.base.features import select
    from privfedmm.gfmfr.opening import Opening
    from privfedmm.statistics.algorithm import GroupStatistics
    from privfedmm.statistics.public import PublicItems

    if not settings.opening.on:
        return None
    data, how = b.data, opening_statistics(settings)
    chosen = select(data.features, settings.modalities)
    if not chosen:
        how = how.model_copy(update={"personal": "none", "association_rank": 0})
    public = PublicItems(chosen, data.num_items, how, data.present)
    noise = b.portions.multiplier(b.noise_stddev, 0)
    return Opening(
        GroupStatistics(how, data.train, public, b.seed, noise, data.train_age), data.num_items,
        settings.local.negatives_per_positive)


def opening_statistics(settings: AlgorithmSettings) -> StatisticsSettings:
    """Return the settings of the statistics that an opening releases."""
    s = settings.opening
    assert s.association_weight is not None  # the planner has settled it
    return StatisticsSettings(
        groups=0, association_rank=s.association_rank, association_weight=s.association_weight,
        recent_weight=s.recent_weight)


def _build_local(b: Build) -> Algorithm:
    from privfedmm.gfmfr.local_only import LocalOnly

    settings = local_only(b.settings)
    return LocalOnly(settings, b.data.train, _views(b, settings), b.rounds, b.seed)


def _views(b: Build, settings: AlgorithmSettings) -> FeatureViews:
    from privfedmm.base.features import select
    from privfedmm.gfmfr.feature_views import FeatureViews

    data = b.data
    return FeatureViews(select(data.features, settings.modalities), data.num_items, settings,
                        data.present, data.cold)


GFMFR_METHOD = Method(
    name="gfmfr",
    summary="group-wise fusion of text and image over a backbone, distilled back to clients",
    reference=_PAPER,
    settings=AlgorithmSettings,
    section=SECTION,
    can=Can(interaction_unit=True, groups=True, cold_items=True, explains=True,
            public_subspace=True, reference=True),
    defaults=_opened_defaults,
    settle=_settle,
    before=_before,
    portions=_portions,
    told=_told,
    timed=_timed,
    device_steps=lambda s: s.local.epochs,
    build=lambda b: build(b, b.settings),
    travels=_travels,
    parts=_parts,
)
BACKBONE_METHOD = Method(
    name="backbone",
    summary="the backbone of gfmfr alone: no groups, features, fusion or distillation",
    reference=f"{_PAPER}; federated matrix factorisation, Chai et al. 2020",
    settings=AlgorithmSettings,
    section=SECTION,
    reads=("model", "local", "server"),
    can=Can(interaction_unit=True, reference=True),
    defaults=_defaults,
    timed=_timed,
    device_steps=lambda s: s.local.epochs,
    build=lambda b: build(b, backbone_only(b.settings)),
    travels=_travels,
    parts=lambda s: {"backbone": s.model.backbone},
)
LOCAL_METHOD = Method(
    name="local",
    summary="every client trains for itself; nothing is sent",
    settings=AlgorithmSettings,
    section=SECTION,
    reads=("modalities", "model", "local"),
    can=Can(federated=False, user_unit=False, cold_items=True, explains=True,
            adaptive_clip=False, deployed=False, reference=True),
    defaults=_defaults,
    timed=_timed,
    device_steps=lambda s: s.local.epochs,
    build=_build_local,
    travels=_travels,
    parts=lambda s: {"backbone": s.model.backbone},
)
