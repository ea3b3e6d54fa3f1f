"""State what a noise answers for itself: where it is added, how wide it is, and what it costs.

The chain, the stack, the statement and the ledger ask these questions and know no kind of noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from privacy.bounds import Bound
from privacy.charged import Terms
from privacy.events import Event
from privacy.places import Place
from privacy.randomness import Source
from privacy.sampling import Sampling
from privacy.uploads import Uploads

Stream = Literal["normal", "uniform", "raw"]

SERVER_READS_ALL = (
    "the server reads every clipped upload in the clear and is trusted to add the noise "
    "to the sum; the figure holds against everybody who sees only what it releases")
SERVER_ADDS_NOISE = (
    "the server learns exact sums, and of no client its upload, and is trusted "
    "to add the noise (a key holder adds it to what is encrypted); the figure "
    "holds against everybody who sees only what it releases")
NOBODY_TRUSTED = "nobody is trusted: each device adds its own noise before anything leaves it"


@dataclass(frozen=True)
class Scale:
    """Describe the vectors under a noise: the weight of each release, and the step of their grid.

    A release enters the joint vector multiplied by its weight, so noise of a standard deviation in
    the joint vector is that divided by the weight on the release. step: 0 where there is no grid;
    on a grid the values are int32 or int64 multiples of it, in the joint vector's scale.
    """

    weights: Mapping[str, float]
    step: float = 0.0


class Noise(Protocol):
    """Play the noise step of a chain; one that is none of the package's own need not derive from
    it."""

    @property
    def noise_multiplier(self) -> float:
        """Return standard deviation / the bound that it hides; 0 adds nothing, and no guarantee
        follows."""
        ...

    @property
    def sensitivity(self) -> float:
        """Return the bound on the L2 norm of a client's joint vector that it is made for."""
        ...

    @property
    def stddev(self) -> float:
        """Return the absolute standard deviation, in the joint vector, of what is promised on a
        sum."""
        ...

    @property
    def place(self) -> Place:
        """Return `central` on the sum, `local` on each vector, `distributed` in shares of a sum."""
        ...

    @property
    def kind(self) -> str:
        """Return what a statement calls it, as in `Gaussian` releases."""
        ...

    @property
    def reason(self) -> str:
        """Say why its figure may be claimed, in a statement."""
        ...

    @property
    def numbers(self) -> str:
        """Return `float64`, or `integer` where no last bits of a float can tell anything."""
        ...

    @property
    def drawn_from(self) -> Stream:
        """Return the method of `Source` that its numbers come from."""
        ...

    @property
    def needs_secure_sum(self) -> bool:
        """Tell whether it protects nobody where the server sees each client's upload."""
        ...

    @property
    def against_server(self) -> bool:
        """Tell whether the guarantee holds against the server too."""
        ...

    @property
    def honest(self) -> int:
        """Return the fewest clients that a released sum must hold; 0 where any number does."""
        ...

    def trust(self, hidden: bool) -> str:
        """Say who is trusted with what, in a sentence; hidden: whether the server learns sums
        only."""
        ...

    def bound(self, before: Bound) -> Bound:
        """Return what is known of a vector after it. Raises ChainError where no guarantee would
        follow."""
        ...

    def share(self, step: float) -> float:
        """Return the standard deviation, in steps, of what one client adds on a grid; 0 for
        nothing."""
        ...

    def variances_on_sum(self, clients: float) -> float:
        """Return the variance of the noise on a sum over that many clients, as a multiple of
        stddev^2."""
        ...

    def stddev_on_sum(self, clients: float) -> float:
        """Return the absolute standard deviation of the noise on a sum over that many clients."""
        ...

    def as_normal(self, draws: np.ndarray) -> np.ndarray | None:
        """Return draws of it [n], in their own standard deviation, as the normal numbers of the
        same probability; None where it does not state its distribution, so that an audit makes
        those tests alone that need none."""
        ...

    def event(self, sampling: Sampling) -> Event:
        """Return what the ledger charges for a release under that sampling."""
        ...

    def terms(self, dims: int, limit: float | None) -> Terms:
        """Return what that event's price needs beside the multiplier.

        dims: values of a release. limit: bound of a client's vector in steps; None off a grid.
        """
        ...

    def remade(self, noise_multiplier: float, sensitivity: float) -> Noise:
        """Return the same noise of another multiplier, for another bound."""
        ...

    def on_clients(
        self, uploads: Uploads, scale: Scale, ids: np.ndarray, source: Source, round_: int
    ) -> Uploads:
        """Return what the devices of clients ids [block] send: with their noise, where they add
        any."""
        ...

    def on_sum(
        self, sums: Mapping[str, Tensor], scale: Scale, source: Source, round_: int
    ) -> dict[str, Tensor]:
        """Return the sums with the noise that is added to them; as they are where clients added
        it."""
        ...
