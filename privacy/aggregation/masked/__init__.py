"""Masked summing: the server learns the sum of the survivors' vectors and no vector of its own.

Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning (CCS 2017),
on the graph of Bell et al., Secure Single-Server Aggregation with (Poly)Logarithmic Overhead
(CCS 2020). Exchanges of one round: advert, shares, masked, signature, unmask. An object serves
one attempt at one round, so a deployment may send the advert of round r + 1 beside the masked
vector of r, and its shares beside the signature of r: three exchanges a round.
"""

from privacy.aggregation.masked.client import MaskedClient, Stage
from privacy.aggregation.masked.graph import Graph, choose_degree
from privacy.aggregation.masked.replay_guard import Attendance
from privacy.aggregation.masked.server import Await, MaskedServer, MaskedSum
from privacy.aggregation.masked.terms import Floor, RoundTerms

__all__ = [
    "Attendance",
    "Await",
    "Floor",
    "Graph",
    "MaskedClient",
    "MaskedServer",
    "MaskedSum",
    "RoundTerms",
    "Stage",
    "choose_degree",
]
