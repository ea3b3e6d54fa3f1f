"""Ways to bring a cohort's uploads together: one interface, one file a protocol."""

from privacy.aggregation.plain import PlainAggregator
from privacy.aggregation.protocol import Aggregator, Session, Sums

__all__ = ["Aggregator", "PlainAggregator", "Session", "Sums"]
