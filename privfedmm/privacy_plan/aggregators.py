"""From a config to the aggregators that carry a run's uploads."""

from __future__ import annotations

import math

from privacy import Aggregator, RingAggregator, RoutedAggregator, Survivors
from privacy.aggregation.masked.tolerance import (
    IntolerableError,
    Tolerance,
    most_colluding,
    most_dropped,
)
from privacy.aggregation.messages import Transcript
from privacy.owners import Owners
from privfedmm.base.errors import UserError
from privfedmm.config.sections import RunConfig
from privfedmm.mechanisms.aggregators import AGGREGATORS, SumTerms


def check_cohort(config: RunConfig) -> None:
    """Check that a run's ways of summing can do with the cohorts that it draws.

    Raises UserError where one of them needs everyone. This is asked before anything is calibrated,
    which takes long for drawn cohorts.
    """
    if config.cohort == 1 and (config.dp is None or config.dp.everyone):
        return
    ways = {"aggregation": config.aggregation, "group_statistics": config.statistics_way}
    for field, way in ways.items():
        if AGGREGATORS.get(way).fixed_cohort:
            raise UserError(f"{field}: the key holder fixes the fewest contributors for the "
                            "whole run, so everyone must take part; set dp.sampling to everyone, "
                            "and leave cohort out")


def tolerance(config: RunConfig) -> Tolerance:
    """Return what the masked sums of a run are to bear."""
    secure = config.secure
    return Tolerance(secure.dropout, owners(config), secure.server == "active", secure.failure_bits)


def owners(config: RunConfig) -> Owners:
    """Return whose clients are whose, and who may side with the server."""
    secure = config.secure
    return Owners(secure.nodes, secure.colluding_nodes, secure.colluding)


def check_masks(config: RunConfig, population: int) -> None:
    """Check that a run's masked sums can bear what the config asks of them.

    Raises UserError, with the sizes and shares that would do, where they cannot.
    """
    ways = (config.aggregation, config.statistics_way)
    if not any(AGGREGATORS.get(way).masks for way in ways):
        return
    secure, dp = config.secure, config.dp
    if secure.nodes is not None and sum(secure.nodes) != population:
        raise UserError(f"secure.nodes: the owners hold {sum(secure.nodes)} users, and the run has "
                        f"{population}; give the users of every owner, in the order of their "
                        "numbers")
    bears = tolerance(config)
    # Of a drawn cohort nobody knows more than its expected size before it is drawn.
    rate = 1.0 if dp is None or dp.everyone else dp.sampling_rate or 1.0
    cohort = tuple(range(population))[:max(round(rate * population), 1)]
    try:
        bears.choice(cohort)
    except IntolerableError as error:
        n = len(cohort)
        dropped, colluding = bears.dropped(n), bears.owners.colluding(cohort)
        most = most_colluding(n, dropped, bears.active_server)
        fewer = most_dropped(n, colluding, bears.active_server)
        ways_out = ["set secure.server to semi_honest"] if bears.active_server else []
        if fewer >= 0:
            share = math.floor(1e3 * fewer / n) / 1e3
            ways_out.insert(0, f"set secure.dropout to at most {share:g}")
        if most >= 1 and bears.owners.sizes is not None and bears.owners.nodes:
            ways_out.insert(0, f"have no {bears.owners.nodes} of the owners hold more than {most} "
                               "users together")
        raise UserError(f"secure: {error}: {', or '.join(ways_out) or 'enlarge the cohort'}"
                        ) from error


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
        tolerance=tolerance(config), scheme=secure.scheme, transcript=transcript)

    def one(way: str) -> Aggregator:
        entry = AGGREGATORS.get(way)
        if entry.hides_clients and secure.without_messages:
            return RingAggregator()
        return entry.build(terms)

    updates = one(config.aggregation)
    if config.statistics_way == config.aggregation:
        return updates
    return RoutedAggregator(updates, one(config.statistics_way))
