"""From a config to the aggregators that carry a run's uploads."""

from __future__ import annotations

from privacy import Aggregator, RingAggregator, RoutedAggregator, Survivors
from privacy.aggregation.messages import Transcript
from privfedmm.base.errors import UserError
from privfedmm.config.sections import RunConfig
from privfedmm.mechanisms.aggregators import AGGREGATORS, SumTerms


def check_cohort(config: RunConfig) -> None:
    """Check that a run's ways of summing can do with the cohorts that it draws.

    Raises UserError where one of them needs everyone. This is asked before anything is calibrated,
    which takes long for drawn cohorts.
    """
    if config.dp is None or config.dp.sampling == "everyone":
        return
    ways = {"aggregation": config.aggregation, "group_statistics": config.statistics_way}
    for field, way in ways.items():
        if AGGREGATORS.get(way).fixed_cohort:
            raise UserError(f"{field}: the key holder fixes the fewest contributors for the "
                            "whole run, so everyone must take part; set dp.sampling to everyone")


def aggregator(
    config: RunConfig, population: int, survivors: Survivors, transcript: Transcript | None = None
) -> Aggregator:
    """Return the aggregator of a run: one for everything, or one each for updates and statistics.

    transcript: is told every message of the protocols. Raises UserError for what cannot be
    carried.
    """
    secure = config.secure
    terms = SumTerms(
        population=population, min_survivors=survivors.min_survivors(population),
        dropout=secure.dropout, colluding=secure.colluding, failure_bits=secure.failure_bits,
        scheme=secure.scheme, transcript=transcript)

    def one(way: str) -> Aggregator:
        entry = AGGREGATORS.get(way)
        if entry.hides_clients and secure.mode == "ring":
            return RingAggregator()
        return entry.build(terms)

    updates = one(config.aggregation)
    if config.statistics_way == config.aggregation:
        return updates
    return RoutedAggregator(updates, one(config.statistics_way))
