"""What the statistics methods decide from public figures: users, items and noise."""

from __future__ import annotations

import math

from privfedmm.statistics.settings import StatisticsSettings

# Users per unit of noise at which associations have half of their noiseless weight (measured on
# validation: .6 at epsilon 8 and .3 at 2 are best on ml100k).
HALF = 700


def public_groups(settings: StatisticsSettings, users: int, noise_stddev: float) -> int:
    """Return the number of groups: as set, or by users per unit of noise, which are public.

    Below 250 users a unit the release costs more than it tells; there is one group for every 107.
    """
    if settings.groups is not None:
        return settings.groups
    supply = users / max(noise_stddev, 1.0)
    return 0 if supply < 250 else min(max(round(supply / 107), 5), 40)


def public_rank(
    settings: StatisticsSettings, users: int, items: int, noise_stddev: float
) -> int:
    """Return the number of components that associations are counted in.

    It is the one that is set, else one for every 4 users per unit of noise.
    Below 100 users a unit, or 0.105 a unit and item, their release costs more than it tells: the
    popularity of each item then has more of the noise. (Measured on validation: .110 a unit and
    item pays on ml100k, .057 does not, nor .101 on ml1m, which has no times.)
    """
    if settings.association_rank is not None:
        return settings.association_rank
    if not noise_stddev and settings.noiseless_rank:
        return settings.noiseless_rank
    supply = users / max(noise_stddev, 1.0)
    return 0 if supply < max(100, 0.105 * items) else min(round(supply / 4), 256)


def public_weight(settings: StatisticsSettings, users: int, noise_stddev: float) -> float:
    """Return the weight of the standardised score of associations: as set, or by users and noise.
    """
    if settings.association_weight is not None:
        return settings.association_weight
    supply = users / noise_stddev if noise_stddev else math.inf
    return 1.0 if math.isinf(supply) else supply / (supply + HALF)
