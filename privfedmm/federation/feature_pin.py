"""Public item features pinned by hash: a client trains with the features it agreed to, or not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


class FeaturesChangedError(ValueError):
    """Reports item features that a client did not pin; it trained nothing and sent nothing."""


def features_digest(features: Mapping[str, np.ndarray]) -> bytes:
    """Return the SHA-256 of modality -> [items, F]: names in order, shapes, types and values."""
    digest = hashlib.sha256()
    for name in sorted(features):
        matrix = np.ascontiguousarray(features[name])
        digest.update(f"{name}|{matrix.shape}|{matrix.dtype.str}|".encode())
        digest.update(matrix.tobytes())
    return digest.digest()


@dataclass(frozen=True)
class FeaturePin:
    """Holds the hash of the features of a client's first round, to hold the server to them.

    A server that swaps features between rounds could read groups and profiles that they steer. The
    pin does not say that the first features were honest ones.
    """

    digest: bytes

    @classmethod
    def of(cls, features: Mapping[str, np.ndarray]) -> FeaturePin:
        """Return the pin of these features, modality -> [items, F]."""
        return cls(features_digest(features))

    def check(self, features: Mapping[str, np.ndarray]) -> None:
        """Check that the features are the pinned ones, value for value.

        Raises FeaturesChangedError where they are not.
        """
        found = features_digest(features)
        if found != self.digest:
            raise FeaturesChangedError(
                f"the item features have SHA-256 {found.hex()[:12]}, but this client pinned "
                f"{self.digest.hex()[:12]}; it refuses to train with them: start a new run, or "
                "have the server send the features of the first round")
