"""Ways to bring a cohort's uploads together: one interface, one file a protocol."""

from privacy.aggregation.messages import (
    CapacityError,
    ProtocolError,
    RoundAborted,
    RoundNotBegun,
    Transcript,
)
from privacy.aggregation.plain import PlainAggregator, RingAggregator
from privacy.aggregation.protocol import Aggregator, Session, Sums, Task
from privacy.aggregation.routed import RoutedAggregator

__all__ = [
    "Aggregator",
    "CapacityError",
    "PlainAggregator",
    "ProtocolError",
    "RingAggregator",
    "RoundAborted",
    "RoundNotBegun",
    "RoutedAggregator",
    "Session",
    "Sums",
    "Task",
    "Transcript",
]
