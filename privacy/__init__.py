"""This package protects vectors of clients; it knows clients and bytes, not items or training."""

from privacy.accounting import PricingError, Shares, calibrate, epsilon
from privacy.adaptive import AdaptiveClip, ClipRule
from privacy.aggregation.simulated.routed import RoutedAggregator
from privacy.aggregator import Aggregator, Session, Sums, Task
from privacy.bounds import Bound, ChainError
from privacy.charged import Charged, Joint, Terms
from privacy.discrete import DistributedNoise
from privacy.dp_sgd import OnDevice
from privacy.errors import (
    CapacityError,
    CheatFound,
    NotPrepared,
    OpeningFailed,
    ProtocolError,
    RoundAborted,
    RoundLost,
    RoundNotBegun,
)
from privacy.events import Event, event_named, register_event
from privacy.ledger import Budget, BudgetError, Charge, Entry, Ledger, LedgerError
from privacy.noise import Noise, Scale
from privacy.noises import NoiseEntry, noise_entry, register_noise
from privacy.places import Place
from privacy.plain import PlainAggregator, RingAggregator
from privacy.portions import EVEN, Portions
from privacy.quantise import Quantise
from privacy.randomness import SimulationSource, Source, SystemSource
from privacy.releases import Kind, Release, turns
from privacy.roles import Role
from privacy.sampling import Cohort, Everyone, FixedSize, Poisson, Sampling
from privacy.stack import Gate, PrivacyStack, Totals, Vault
from privacy.statement import Statement, state
from privacy.sums import PrivateSums, private_sums
from privacy.survivors import Survivors
from privacy.transforms import GaussianNoise, JointClip, Mechanism, Project, chain
from privacy.uploads import Collected, Dense, LowRank, Part, Slotted, Touched, UploadError, Uploads

__all__ = [
    "EVEN",
    "AdaptiveClip",
    "Aggregator",
    "Bound",
    "Budget",
    "BudgetError",
    "CapacityError",
    "ChainError",
    "Charge",
    "Charged",
    "CheatFound",
    "ClipRule",
    "Cohort",
    "Collected",
    "Dense",
    "DistributedNoise",
    "Entry",
    "Event",
    "Everyone",
    "FixedSize",
    "Gate",
    "GaussianNoise",
    "Joint",
    "JointClip",
    "Kind",
    "Ledger",
    "LedgerError",
    "LowRank",
    "Mechanism",
    "Noise",
    "NoiseEntry",
    "NotPrepared",
    "OnDevice",
    "OpeningFailed",
    "Part",
    "Place",
    "PlainAggregator",
    "Poisson",
    "Portions",
    "PricingError",
    "PrivacyStack",
    "PrivateSums",
    "Project",
    "ProtocolError",
    "Quantise",
    "Release",
    "RingAggregator",
    "Role",
    "RoundAborted",
    "RoundLost",
    "RoundNotBegun",
    "RoutedAggregator",
    "Sampling",
    "Scale",
    "Session",
    "Shares",
    "SimulationSource",
    "Slotted",
    "Source",
    "Statement",
    "Sums",
    "Survivors",
    "SystemSource",
    "Task",
    "Terms",
    "Totals",
    "Touched",
    "UploadError",
    "Uploads",
    "Vault",
    "calibrate",
    "chain",
    "epsilon",
    "event_named",
    "noise_entry",
    "private_sums",
    "register_event",
    "register_noise",
    "state",
    "turns",
]
