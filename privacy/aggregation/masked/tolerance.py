"""How many neighbours and shares a masked sum needs, against whom and after how many dropouts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.special import gammaln

from privacy.crypto.beacon import choices
from privacy.errors import ProtocolError
from privacy.owners import Owners

# A round is tried at most this often. The graph of an attempt follows from its number, so whoever
# numbers attempts has this many graphs to choose from, and the failures of all of them are counted;
# so are those of all beacons that can be drawn (`Tolerance.beacons`).
MAX_ATTEMPTS = 8
_COMPUTABLE = 128  # log2 of the work that nobody is able to do


class IntolerableError(ProtocolError):
    """Report a cohort in which no graph of masks bears what it is asked to."""


@dataclass(frozen=True)
class Choice:
    """Hold the degree and the threshold of a graph, and what they are for.

    degree: neighbours of a client. threshold: shares that recover a secret. dropped: clients that
    may vanish. colluding: clients that may side with the server.
    """

    degree: int
    threshold: int
    dropped: int
    colluding: int


def _tails(n: int, marked: int, degree: int) -> np.ndarray:
    """P[at least j of a client's neighbours are marked], j = 0..degree+1, float64.

    The neighbours are a uniformly random set of `degree` among the n - 1 others, of whom at most
    `marked` are: the hypergeometric law.
    """
    j = np.arange(degree + 1)
    marked = min(marked, n - 1)

    def log_choose(top: int | np.ndarray, bottom: int | np.ndarray) -> np.ndarray:
        return np.asarray(gammaln(top + 1.0) - gammaln(bottom + 1.0) - gammaln(top - bottom + 1.0))

    possible = (j <= marked) & (degree - j <= n - 1 - marked)
    log = np.full(degree + 1, -np.inf)
    some = j[possible]
    log[possible] = (log_choose(marked, some) + log_choose(n - 1 - marked, degree - some)
                     - log_choose(n - 1, degree))
    tails = np.cumsum(np.exp(log)[::-1])[::-1]
    return np.append(np.minimum(tails, 1.0), 0.0)


@lru_cache(maxsize=256)
def choose_degree(
    n: int, dropped: int, colluding: int, log2_failure: float, *, active_server: bool = True
) -> tuple[int, int]:
    """Return the smallest (degree k, threshold t) whose failures are rarer than 2**-log2_failure.

    n: clients of the cohort. dropped: how many of them, any, may vanish. colluding: how many, any
    that are fixed before the graph is drawn, hand all they know to the server. With D and C the
    neighbours of a client among them, hypergeometric, and f = min(1, (dropped + colluding) / n):

        n P[k - D < t]              < 2**-log2_failure    a secret cannot be recovered
        n P[C >= t]                 < 2**-log2_failure    a secret is read by colluders
        n (n - 1) / 2 f**k          < 2**-log2_failure    honest survivors fall apart
        n P[2 t <= k + C]           < 2**-log2_failure    only with active_server

    By the last, honest neighbours that reveal t - C shares of each of a client's two secrets, as
    they would if they were shown different lists of survivors, do not exist: so a server may tell
    every client another story. Without it the server is taken to be curious, but to tell all
    clients the same. (Bonawitz et al., CCS 2017, section 6.2; Bell et al., CCS 2020, section 3; the
    third line bounds two empty stretches of k/2 on the circle.) k is even, or n - 1 where only the
    complete graph will do, in which the counts are certain. Where several t fit, the one that
    leaves the largest of the chances smallest is taken.
    Raises IntolerableError where even the complete graph fails.
    """
    if n < 3 or not 0 <= dropped < n or not 0 <= colluding < n or log2_failure <= 0:
        raise IntolerableError(
            f"a masked sum needs 3 clients or more, of whom some stay; {n} with {dropped} "
            f"vanishing and {colluding} colluding were given")
    allowed, apart = 2.0**-log2_failure, min(1.0, (dropped + colluding) / n)
    for k in range(2, n - 1, 2):
        if n * (n - 1) / 2 * apart**k >= allowed:
            continue
        t = np.arange(2, k + 1)
        lost = n * _tails(n, dropped, k)[k - t + 1]
        marked = _tails(n, colluding, k)
        read = n * marked[np.maximum(2 * t - k, 0) if active_server else t]
        worse = np.maximum(lost, read)
        if (worse < allowed).any():
            return k, int(t[int(np.argmin(worse))])
    k = n - 1
    least = max((k + colluding) // 2 + 1 if active_server else colluding + 1, 2)
    if least > k - dropped:
        raise IntolerableError(_too_few(n, dropped, colluding, active_server))
    # Every t between is certain. The middle leaves room for more than was asked, on both sides.
    return k, (least + k - dropped) // 2


_beacons = lru_cache(maxsize=256)(choices)


def most_colluding(n: int, dropped: int, active_server: bool) -> int:
    """Return the most clients that may collude in the complete graph of a cohort of n; below 0
    where not even the server alone may be dishonest."""
    return n - 2 - (2 * dropped if active_server else dropped)


def most_dropped(n: int, colluding: int, active_server: bool) -> int:
    """Return the most clients that may vanish in the complete graph of a cohort of n."""
    return (n - 2 - colluding) // 2 if active_server else n - 2 - colluding


def _too_few(n: int, dropped: int, colluding: int, active_server: bool) -> str:
    against = "an active server" if active_server else "a server that tells all clients the same"
    return (f"of {n} clients {dropped} may vanish, so a sum holds against {against} with at most "
            f"{max(most_colluding(n, dropped, active_server), 0)} colluding clients, and "
            f"{colluding} are asked for; with so many, at most "
            f"{max(most_dropped(n, colluding, active_server), 0)} may vanish")


@dataclass(frozen=True)
class Tolerance:
    """Hold what the masked sums of a run are to bear.

    dropout: the share of a cohort, in [0, 1), that may vanish. owners: whose clients are whose, and
    who may side with the server. active_server: whether the server may tell clients different
    things. failure_bits: -log2 of the chance, in a round with all its attempts and all beacons that
    it could have been drawn from, that it fails.
    """

    dropout: float = 0.1
    owners: Owners = field(default_factory=Owners)
    active_server: bool = True
    failure_bits: float = 20

    def choice(self, cohort: tuple[int, ...]) -> Choice:
        """Return the graph for a cohort of these clients.

        Raises IntolerableError where none bears it.
        """
        n = len(cohort)
        dropped, colluding = self.dropped(n), self.owners.colluding(cohort)
        bits = self.failure_bits + math.log2(MAX_ATTEMPTS) + self.grinding_bits
        k, t = choose_degree(n, dropped, colluding, bits, active_server=self.active_server)
        return Choice(k, t, dropped, colluding)

    @property
    def fewest_parts(self) -> int | None:
        """Return of how many owners the beacon has parts at the least; None where no owners are
        stated.

        Of more than may side with the server, so that one of them at least is honest, and then of
        all but as many as may be away: the most whose clients together are no more than may vanish,
        so that whoever a sum can do without, the beacon can do without too. Owners that may side
        with the server are `Owners.nodes`, or as many as `Owners.share` has room for, if more.
        """
        owners = self.owners
        if owners.sizes is None:
            return None
        total, count = sum(owners.sizes), len(owners.sizes)
        colluding = max(owners.nodes, owners.within(math.ceil(owners.share * total - 1e-9)))
        return min(max(colluding + 1, count - owners.within(self.dropped(total))), count)

    @property
    def beacons(self) -> int:
        """Return how many beacons a server that sees all parts can choose from
        (`privacy.crypto.beacon`).

        One where no owners are stated: then all clients are in one process, which draws the
        beacon by itself, and nobody is there to choose. A deployment always states its owners.
        """
        fewest = self.fewest_parts
        return 1 if fewest is None else _beacons(len(self.owners.sizes or ()), fewest)

    @property
    def grinding_bits(self) -> float:
        """Return log2 of the beacons that a server can try: it has to hash every one that it
        judges, and whoever computes more than 2^128 hashes has the AES-128 keys of the masks too.
        """
        return min(math.log2(self.beacons), _COMPUTABLE)

    def dropped(self, n: int) -> int:
        """Return how many of a cohort of n clients may vanish."""
        return math.floor(self.dropout * n + 1e-9)

    def reads(self, cohort: int, colluding: int, choice: Choice) -> float:
        """Return the chance, at most 1, that a server and so many clients read one chosen other
        client in an attempt."""
        need = 2 * choice.threshold - choice.degree if self.active_server else choice.threshold
        return float(_tails(cohort, min(colluding, cohort - 1), choice.degree)[max(need, 0)])
