"""How an opened run of GFMFR spends its rounds and its budget, from public figures alone.

Counts and associations are sums of n vectors of length 1, and so is a round of updates; what they
are worth under noise of standard deviation s depends on n / s, and where a table of I rows is
learnt, on n / (s I). The constants were chosen on validation (docs/results/dp_gfmfr.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.methods.entry import Public
from privfedmm.statistics.rules import public_rank, public_weight
from privfedmm.statistics.settings import StatisticsSettings

PAYS = 1.0  # users per unit of noise and item from which on training pays
FEW = 4  # rounds of training under noise
MOST = 2  # rounds of an opening, at most: popularity and associations


@dataclass(frozen=True)
class Planned:
    """Holds what was decided, and why.

    settings: settled. rounds: of the run, the opening's among them. told: a sentence for people.
    """

    settings: AlgorithmSettings
    rounds: int
    told: str


def plan_rounds(settings: AlgorithmSettings, public: Public) -> Planned:
    """Decide rank and weight of associations, rounds and dimensions of training."""
    s = settings.opening
    if not s.on:
        return Planned(settings, public.rounds, "")
    # The noise of a single release that is given the whole budget.
    whole = public.noise_stddev / math.sqrt(public.rounds)
    training, why = _training(settings, public, whole)
    share = 1 - s.training_share if training else 1.0
    # Popularity and associations are given alike.
    noise = whole * math.sqrt(2 / share)
    rank = s.association_rank if public.features else 0  # they count components of features
    if rank is None:
        rank = public_rank(StatisticsSettings(), public.users, public.items, noise)
    opening = 1 + bool(rank)
    training = min(training, public.rounds - MOST)
    weight = s.association_weight
    if weight is None:
        weight = public_weight(StatisticsSettings(), public.users, noise)
    settled = settings.model_copy(update={
        "opening": s.model_copy(update={
            "association_rank": rank, "association_weight": weight, "training_rounds": training})})
    if whole and training:
        dim = min(settings.model.dim, s.training_dim)
        settled = settled.model_copy(update={
            "model": settings.model.model_copy(update={"dim": dim})})
    linked = f"associations of rank {rank} at weight {weight:.2f}" if rank else "no associations"
    return Planned(settled, opening + training,
                   f"releases: popularity and {linked}, then {training} rounds of training{why}")


def portions(settings: AlgorithmSettings, rounds: int) -> list[float]:
    """Return the rounds' shares of a budget; an empty list for an even split."""
    s = settings.opening
    if not s.on:
        return []
    opening = 1 + bool(s.association_rank)
    training = rounds - opening
    if training <= 0:
        return []
    return [(1 - s.training_share) / opening] * opening + [s.training_share / training] * training


def _training(
    settings: AlgorithmSettings, public: Public, whole: float
) -> tuple[int, str]:
    """How many rounds of training, and why."""
    given = settings.opening.training_rounds
    if given is not None:
        return given, " (algorithm.opening.training_rounds)"
    if not whole:
        return public.rounds, ""
    supply = public.users / (whole * public.items)
    figure = f"users / (noise x items) is {supply:.2g}"
    if supply < PAYS:
        return 0, f": {figure}, and below {PAYS:g} a learnt table has more noise than taste"
    return FEW, (f" in {min(settings.model.dim, settings.opening.training_dim)} dimensions, for "
                 f"{settings.opening.training_share:.0%} of the method's budget: {figure}, not "
                 f"below {PAYS:g}")
