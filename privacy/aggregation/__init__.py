"""Ways to bring a cohort's uploads together behind one interface (`protocol.py`).

`plain.py` adds in the clear. `masked/` and `encrypted/` are protocols: parties without I/O. Two
drivers pass their messages: `simulated/` in one process, `deployed/` between processes.
"""

from privacy.aggregation.messages import (
    CapacityError,
    ProtocolError,
    RoundAborted,
    RoundNotBegun,
    Transcript,
)
from privacy.aggregation.plain import PlainAggregator, RingAggregator
from privacy.aggregation.protocol import Aggregator, Session, Sums, Task
from privacy.aggregation.simulated.routed import RoutedAggregator

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
