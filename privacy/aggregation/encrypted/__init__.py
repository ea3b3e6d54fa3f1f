"""Sums under encryption: clients encrypt, the server adds, a KeyHolder decrypts one total a round.

The sum is linear, and so is the ciphertext: BFV (Fan and Vercauteren 2012) or CKKS (Cheon et al.
2017). One attempt at one sum: the server's terms, one upload a client, the total for the KeyHolder,
its answer. There are no masks, and so none of the rounds of Bonawitz et al.: a client that sends no
upload has dropped out, and nothing of it is to be recovered.

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
