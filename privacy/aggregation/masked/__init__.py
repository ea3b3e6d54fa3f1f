"""Masked summing: the server learns the sum of the survivors' vectors and no vector of its own.

Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning (CCS 2017),
on the graph of Bell et al., Secure Single-Server Aggregation with (Poly)Logarithmic Overhead
(CCS 2020). One attempt at one sum has the rounds of Bonawitz et al., Figure 4, which are exchanges
between clients and server: 0 AdvertiseKeys (advert), 1 ShareKeys (shares), 2 MaskedInputCollection
(masked), 3 ConsistencyCheck (signature), 4 Unmasking (unmask). Masks, shares and signatures are
between neighbours in a graph alone, that of Bell et al., section 3. An object serves one attempt,
so a deployment may send the advert of the next sum beside the masked vector of this one, and its
shares beside the signature of this one: three exchanges a sum.
"""

from privacy.aggregation.masked.client import MaskedClient, Stage
from privacy.aggregation.masked.graph import Graph
from privacy.aggregation.masked.replay_guard import Attendance
from privacy.aggregation.masked.server import Await, MaskedServer, MaskedSum
from privacy.aggregation.masked.terms import Floor, RoundTerms
from privacy.aggregation.masked.tolerance import (
    MAX_ATTEMPTS,
    Choice,
    IntolerableError,
    Tolerance,
    choose_degree,
)

__all__ = [
    "MAX_ATTEMPTS",
    "Attendance",
    "Await",
    "Choice",
    "Floor",
    "Graph",
    "IntolerableError",
    "MaskedClient",
    "MaskedServer",
    "MaskedSum",
    "RoundTerms",
    "Stage",
    "Tolerance",
    "choose_degree",
]
