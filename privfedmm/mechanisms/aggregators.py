"""The ways of summing that a config may name; others add theirs by the group privfedmm.aggregators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from privacy import Aggregator, PlainAggregator
from privacy.aggregation.masked.tolerance import Tolerance
from privacy.aggregation.messages import Message, Transcript
from privacy.crypto.he import check_library
from privacy.crypto.he_parameters import Scheme
from privfedmm.base.registry import Registry


@dataclass(frozen=True, kw_only=True)
class SumTerms:
    """Holds what an aggregator is built from, all of it public.

    population: the number of clients of the run. min_survivors: the fewest clients whose sum may be
    released. tolerance: how many clients may vanish, who may side with the server, and with which
    chance that fails. scheme: the scheme of ciphertexts.
    transcript: what is told every message; None tells nobody.
    """

    population: int
    min_survivors: int
    tolerance: Tolerance
    scheme: Scheme
    transcript: Transcript | None = None


@dataclass(frozen=True, kw_only=True)
class AggregatorEntry:
    """Describes a way of summing as it is registered.

    build: makes it from its terms. hides_clients: whether the server learns sums and no client's
    own upload, so that uploads are integers, and `secure.mode = ring` can stand in. updates,
    statistics: which of the two it may carry. fixed_cohort: whether everyone must take part in
    every round. key_holder: whether another party than the server opens its sums, of uploads that
    only their length tells of. masks: whether its sums stand on a graph of masks, which has to bear
    `SumTerms.tolerance`. vector: reads out of a message to the server, as the transcript is
    told it, the vector of its sender, integers in the order of the releases; it returns None for
    every other message. Attacks on uploads need it where clients are hidden. check: raises
    MissingExtra where a library that it needs is not installed. Whether nodes speak its protocol is
    not its to say: a deployment carries privacy.aggregation.deployed.WAYS.
    """

    name: str
    summary: str
    reference: str
    build: Callable[[SumTerms], Aggregator]
    hides_clients: bool
    updates: bool = True
    statistics: bool = True
    fixed_cohort: bool = False
    key_holder: bool = False
    masks: bool = False
    vector: Callable[[Message], np.ndarray | None] = lambda message: None
    check: Callable[[], None] = lambda: None

    @property
    def section(self) -> str:
        """Return the section of a config that tunes it; one that hides nobody has none."""
        return "secure" if self.hides_clients else ""

    def alone(self) -> dict[str, str]:
        """Return the config values under which it carries all that it may, and masks the rest."""
        return {"aggregation": self.name if self.updates else "masked",
                "group_statistics": self.name if self.statistics else "masked"}


def _masked_vector(message: Message) -> np.ndarray | None:
    from privacy.aggregation.masked.codec import MASKED, vector_of

    return vector_of(message.body).view(np.int32) if message.kind == MASKED else None


def _masked(terms: SumTerms) -> Aggregator:
    from privacy.aggregation.simulated.masked import MaskedAggregator

    return MaskedAggregator(terms.tolerance, terms.transcript)


def _encrypted(terms: SumTerms) -> Aggregator:
    from privacy.aggregation.simulated.encrypted import EncryptedAggregator

    return EncryptedAggregator(terms.scheme, terms.population, terms.min_survivors,
                               terms.transcript or Transcript(keep_bodies=False))


PLAIN = AggregatorEntry(
    name="plain", summary="the server reads every upload and adds them up", reference="none",
    build=lambda terms: PlainAggregator(), hides_clients=False)
MASKED = AggregatorEntry(
    name="masked", summary="pairwise masks on a sparse graph that cancel in the sum",
    reference="Bonawitz et al., CCS 2017; graph of Bell et al., CCS 2020", build=_masked,
    hides_clients=True, masks=True, vector=_masked_vector)
ENCRYPTED = AggregatorEntry(
    name="encrypted", summary="sums under homomorphic encryption, opened by a key holder",
    reference="BFV: Fan and Vercauteren 2012; CKKS: Cheon et al. 2017", build=_encrypted,
    hides_clients=True, updates=False, fixed_cohort=True, key_holder=True,
    check=check_library)
OWN = ("plain", "masked", "encrypted")  # not from other packages
AGGREGATORS: Registry[AggregatorEntry] = Registry("aggregators", "way of summing", {
    name: f"privfedmm.mechanisms.aggregators:{name.upper()}"
    for name in OWN}, section="secure")
