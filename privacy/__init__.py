"""Privacy modules: they know vectors, clients and bytes, and nothing of items or training."""

from privacy.accounting import PricingError, calibrate, epsilon
from privacy.adaptive import AdaptiveClip, ClipRule
from privacy.aggregation import Aggregator, PlainAggregator, Session
from privacy.bounds import Bound, ChainError
from privacy.ledger import Budget, BudgetError, Charge, Entry, Ledger, LedgerError
from privacy.on_device import OnDevice
from privacy.randomness import SimulationSource, Source, SystemSource
from privacy.sampling import Cohort, Everyone, FixedSize, Poisson, Sampling
from privacy.stack import Gate, PrivacyStack, Totals, Vault
from privacy.statement import Statement, state
from privacy.transforms import (
    GaussianNoise,
    JointClip,
    Mechanism,
    Project,
    Quantise,
    chain,
)
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
    "AdaptiveClip",
    "Aggregator",
    "Bound",
    "Budget",
    "BudgetError",
    "ChainError",
    "Charge",
    "ClipRule",
    "Cohort",
    "Collected",
    "Dense",
    "Entry",
    "Everyone",
    "FixedSize",
    "Gate",
    "GaussianNoise",
    "JointClip",
    "Kind",
    "Ledger",
    "LedgerError",
    "Mechanism",
    "OnDevice",
    "Part",
    "PlainAggregator",
    "Poisson",
    "PricingError",
    "PrivacyStack",
    "Project",
    "Quantise",
    "Release",
    "Sampling",
    "Session",
    "SimulationSource",
    "Slotted",
    "Source",
    "Statement",
    "SystemSource",
    "Totals",
    "Touched",
    "UploadError",
    "Uploads",
    "Vault",
    "calibrate",
    "chain",
    "epsilon",
    "state",
]
