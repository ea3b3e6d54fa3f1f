"""From a config to the aggregators that carry a run's uploads."""

from __future__ import annotations

from privacy import Aggregator, PlainAggregator, RingAggregator, RoutedAggregator, Survivors
from privacy.aggregation.encrypted import EncryptedAggregator
from privacy.aggregation.masked import MaskedAggregator
from privacy.aggregation.messages import Transcript
from privfedmm.config.sections import RunConfig
from privfedmm.errors import UserError


def aggregator(
    config: RunConfig, population: int, survivors: Survivors, transcript: Transcript | None = None
) -> Aggregator:
    """The aggregator of a run: one for everything, or one each for updates and statistics.

    transcript: told every message of the protocols. Raises UserError for what cannot be carried.
    """
    if config.statistics_way == "encrypted" and config.dp and config.dp.sampling != "everyone":
        raise UserError("group_statistics: the key holder fixes the fewest contributors for the "
                        "whole run, so everyone must take part; set dp.sampling to everyone")

    def one(way: str) -> Aggregator:
        if way == "plain":
            return PlainAggregator()
        if config.secure.mode == "ring":
            return RingAggregator()
        if way == "masked":
            terms = config.secure
            return MaskedAggregator(
                terms.dropout, terms.colluding, terms.failure_bits, transcript)
        return EncryptedAggregator(
            config.secure.scheme, population, survivors.least(population),
            transcript or Transcript(keep_bodies=False))

    updates = one(config.aggregation)
    if config.statistics_way == config.aggregation:
        return updates
    return RoutedAggregator(updates, one(config.statistics_way))
