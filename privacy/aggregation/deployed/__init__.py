"""The parties of a round in processes of their own: what each does with a message, without a wire.

A node hosts some clients. Each of them is a client of the protocol, with its own identity, keys
and masked vector; nodes add nothing up. The steps of one training round are exchanges with all
nodes, and carry the rounds of Bonawitz et al. (CCS 2017, Figure 4): upload (masked vectors, round
2; ciphertexts; the adverts of the next sum, its round 0), sign (survivors' signatures, round 3; the
shares of the next sum, its round 1; the key holder's decryption), unmask (round 4).
"""

from privacy.aggregation.deployed.agreed import WAYS, Agreed, Leg, Way, way_of
from privacy.aggregation.deployed.device import EncryptedDevice, Held, MaskedDevice, Refusal
from privacy.aggregation.deployed.holder import HolderSide
from privacy.aggregation.deployed.server import EncryptedSide, MaskedSide, PlainSide

__all__ = [
    "WAYS",
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
    "way_of",
]
