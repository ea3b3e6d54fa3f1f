"""Recommendation from a few one-off statistics: what pays under a small privacy budget."""

from privfedmm.statistics.algorithm import GroupStatistics
from privfedmm.statistics.rules import public_groups, public_rank
from privfedmm.statistics.settings import StatisticsSettings

__all__ = ["GroupStatistics", "StatisticsSettings", "public_groups", "public_rank"]
