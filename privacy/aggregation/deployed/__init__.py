"""The parties of a round in processes of their own: what each does with a message, without a wire.

A node hosts some clients. Each of them is a client of the protocol, with its own identity, keys
and masked vector; nodes add nothing up. Steps of one round, each an exchange with all nodes:
upload (masked vectors, ciphertexts; the adverts of the next round), sign (survivors' signatures;
the shares of the next round; the key holder's decryption), unmask.
"""

from privacy.aggregation.deployed.agreed import Agreed, Leg, Way
from privacy.aggregation.deployed.device import EncryptedDevice, Held, MaskedDevice, Refusal
from privacy.aggregation.deployed.holder import HolderSide
from privacy.aggregation.deployed.server import EncryptedSide, MaskedSide, PlainSide

__all__ = [
    "Agreed",
    "EncryptedDevice",
    "EncryptedSide",
    "Held",
    "HolderSide",
    "Leg",
    "MaskedDevice",
    "MaskedSide",
    "PlainSide",
    "Refusal",
    "Way",
]
