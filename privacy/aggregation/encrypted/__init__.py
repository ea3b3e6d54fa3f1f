"""Sums under encryption: clients encrypt, the server adds, a KeyHolder decrypts one total a round.

The server and the KeyHolder must not collude: together they read every client's vector.
"""

from privacy.aggregation.encrypted.aggregator import EncryptedAggregator
from privacy.aggregation.encrypted.client import EncryptedClient, accept_context
from privacy.aggregation.encrypted.keyholder import KeyHolder
from privacy.aggregation.encrypted.loop import EncryptedRound, EncryptedRun, RoundResult
from privacy.aggregation.encrypted.server import EncryptedServer, Total
from privacy.aggregation.encrypted.terms import Terms

__all__ = [
    "EncryptedAggregator",
    "EncryptedClient",
    "EncryptedRound",
    "EncryptedRun",
    "EncryptedServer",
    "KeyHolder",
    "RoundResult",
    "Terms",
    "Total",
    "accept_context",
]
