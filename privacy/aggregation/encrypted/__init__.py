"""Sums under encryption: clients encrypt, the server adds, a KeyHolder decrypts one total a round.

The server and the KeyHolder must not collude: together they read every client's vector.
"""

from privacy.aggregation.encrypted.client import EncryptedClient, accept_context
from privacy.aggregation.encrypted.keyholder import KeyHolder
from privacy.aggregation.encrypted.server import EncryptedServer, Total
from privacy.aggregation.encrypted.terms import Terms

__all__ = [
    "EncryptedClient",
    "EncryptedServer",
    "KeyHolder",
    "Terms",
    "Total",
    "accept_context",
]
