"""Privacy modules: they know vectors, clients and bytes, and nothing of items or training."""

from privacy.aggregation import Aggregator, PlainAggregator, Session
from privacy.ledger import Entry, Ledger, LedgerError
from privacy.sampling import Cohort, Everyone, Sampling
from privacy.stack import Gate, PrivacyStack, Totals
from privacy.uploads import (
    Collected,
    Dense,
    Kind,
    Part,
    Release,
    Slotted,
    Touched,
    UploadError,
    Uploads,
)

__all__ = [
    "Aggregator",
    "Cohort",
    "Collected",
    "Dense",
    "Entry",
    "Everyone",
    "Gate",
    "Kind",
    "Ledger",
    "LedgerError",
    "Part",
    "PlainAggregator",
    "PrivacyStack",
    "Release",
    "Sampling",
    "Session",
    "Slotted",
    "Totals",
    "Touched",
    "UploadError",
    "Uploads",
]
