"""What a baseline is, and all of them by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from privfedmm.base.registry import Registry
from privfedmm.data.types import Dataset
from privfedmm.evaluation import Scorer

# What a server is trusted with, from nothing to all: noisy releases, sums in the clear, or rows.
TRUST = ("nothing", "noise", "sums", "rows")
Candidates = Callable[[Dataset, int], Iterable[tuple[str, Scorer]]]


@dataclass(frozen=True)
class Baseline:
    """This is a method to compare with: it scores every item for every user, without rounds.

    name: the name by which configs and records call it. summary: what it does. reference: the paper
    and its equation, or where the method is described. sees: what its server holds in the clear; it
    goes into the record. candidates: returns, from a data set and a seed, one (setting in words,
    scorer) a setting; the best on validation NDCG@50 is reported; it may raise `ValueError` with a
    sentence. needs_features: whether it needs at least one modality. needs_modalities: the
    modalities that it needs. needs_times: whether it needs the order of interactions in time.
    trusted_with: what its server is trusted with, one of `TRUST`; a result that needs more and is
    worse is marked.
    """

    name: str
    summary: str
    reference: str
    sees: str
    candidates: Candidates
    needs_features: bool = False
    needs_modalities: tuple[str, ...] = ()
    needs_times: bool = False
    trusted_with: Literal["nothing", "noise", "sums", "rows"] = "rows"

    def fits(self, data: Dataset) -> bool:
        """Return whether a data set has all that this baseline needs."""
        return (
            (bool(data.features) or not self.needs_features)
            and all(name in data.features for name in self.needs_modalities)
            and (data.train_age is not None or not self.needs_times)
        )


BASELINES: Registry[Baseline] = Registry("baselines", "baseline", {
    "random": "privfedmm.baselines.simple:RANDOM",
    "popularity": "privfedmm.baselines.simple:POPULARITY",
    "public_features": "privfedmm.baselines.content:PUBLIC_FEATURES",
    "public_text": "privfedmm.baselines.content:PUBLIC_TEXT",
    "public_image": "privfedmm.baselines.content:PUBLIC_IMAGE",
    "popularity_profile": "privfedmm.baselines.content:POPULARITY_PROFILE",
    "ease": "privfedmm.baselines.centralised:EASE",
    "slit": "privfedmm.baselines.centralised:SLIT",
    "ials": "privfedmm.baselines.centralised:IALS",
})
