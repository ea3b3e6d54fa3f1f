"""From a config to the aggregators that carry a run's uploads."""

from __future__ import annotations

from experiments.config import RunConfig
from privacy import Aggregator, PlainAggregator, RingAggregator, RoutedAggregator


def aggregator(config: RunConfig, population: int) -> Aggregator:
    """The aggregator of a run: one for everything, or one each for updates and statistics."""
    updates = _one(config, config.aggregation)
    if config.statistics_way == config.aggregation:
        return updates
    return RoutedAggregator(updates, _one(config, config.statistics_way))


def _one(config: RunConfig, way: str) -> Aggregator:
    if way == "plain":
        return PlainAggregator()
    return RingAggregator()
