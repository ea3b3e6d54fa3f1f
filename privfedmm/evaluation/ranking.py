"""Ranking every item for every user: ranks first, metrics from ranks.

Protocol: candidates are all items outside the user's training set, without the other held-out
item; ties count against the target; a NaN score is an error. One target a user, so Recall@k is
the hit ratio, kept under both names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from privfedmm.base.streams import draw_below
from privfedmm.data.types import Rows

CUTOFFS = (10, 20, 50)
TARGETS = ("validation", "test")
Scorer = Callable[[np.ndarray], np.ndarray]  # users [m] int64 -> scores [m, items] float32


class ScoreError(ValueError):
    """The scores cannot be ranked."""


@dataclass(frozen=True)
class EvalProtocol:
    """Targets are ranked against all items, or against `sampled_negatives` random ones a user.

    The random items come from a named stream of the seed.
    """

    sampled_negatives: int = 0
    seed: int = 0

    def describe(self) -> dict[str, object]:
        """Return the words that go into a record."""
        full = self.sampled_negatives == 0
        return {
            "ranking": "full" if full else "sampled",
            "candidates": "all items outside the user's training set, without the other held-out "
            "item" if full else f"the target and {self.sampled_negatives} random items the user "
            f"has not interacted with (stream seed {self.seed})",
            "ties": "against the target",
            "targets_per_user": 1,
        }


@dataclass(frozen=True)
class Evaluation:
    """An evaluation holds the ranks of targets, and the metrics that follow from them.

    ranks: target name -> [users] int32, 0 where a user has no target.
    """

    ranks: dict[str, np.ndarray]

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Return the metrics: target name -> metric name -> mean over users."""
        return {name: metrics_from_ranks(ranks) for name, ranks in self.ranks.items()}


def evaluate(
    score: Scorer,
    train: Rows,
    targets: Mapping[str, np.ndarray],
    protocol: EvalProtocol,
    block: int = 512,
    candidates: np.ndarray | None = None,
) -> Evaluation:
    """Rank all targets in one pass over the users, `block` users at a time.

    candidates [items] bool: the items that targets are ranked among, themselves included; None for
    all. Raises ScoreError for NaN or infinite scores, naming the first user.
    """
    ranks = {name: np.zeros(train.users, dtype=np.int32) for name in targets}
    for start in range(0, train.users, block):
        users = np.arange(start, min(start + block, train.users))
        scores = np.asarray(score(users), dtype=np.float32)
        if not np.isfinite(scores).all():
            bad = int(users[np.flatnonzero(~np.isfinite(scores).all(axis=1))[0]])
            raise ScoreError(f"the model gave user {bad} a score that is NaN or infinite; "
                             "training has diverged: lower the learning rates")
        here = {name: target[users] for name, target in targets.items()}
        if protocol.sampled_negatives:
            found = _sampled_ranks(scores, users, train, here, protocol, candidates)
        else:
            found = _full_ranks(scores, users, train, here, candidates)
        for name, rank in found.items():
            ranks[name][users] = rank
    return Evaluation(ranks)


def cold_ranks(
    score: Scorer, cold: np.ndarray, target: np.ndarray, block: int = 512
) -> np.ndarray:
    """Return the rank of each user's cold target among the cold items [items] bool: [users], 0
    without one.

    Among cold items alone: against warm ones, whether a model knows that items are new would
    decide, not whether it knows which of them. Ties count against the target. Raises ScoreError for
    NaN or infinite scores.
    """
    ranks = np.zeros(len(target), dtype=np.int32)
    for start in range(0, len(target), block):
        users = np.arange(start, min(start + block, len(target)))
        scores = np.asarray(score(users), dtype=np.float32)[:, cold]
        if not np.isfinite(scores).all():
            raise ScoreError("the model gave a cold item a score that is NaN or infinite; "
                             "training has diverged: lower the learning rates")
        place = np.maximum(np.cumsum(cold)[np.maximum(target[users], 0)] - 1, 0)
        own = scores[np.arange(len(users)), place][:, None]
        ranks[users] = np.where(target[users] >= 0, (scores >= own).sum(1), 0)
    return ranks


def _full_ranks(
    scores: np.ndarray, users: np.ndarray, train: Rows, targets: Mapping[str, np.ndarray],
    candidates: np.ndarray | None,
) -> dict[str, np.ndarray]:
    row = np.arange(len(users))
    counts = train.counts[users]
    owner = np.repeat(row, counts)
    first, last = train.indptr[users[0]], train.indptr[users[-1] + 1]
    masked = scores.copy()
    masked[owner, train.indices[first:last]] = -np.inf
    if candidates is not None:
        masked[:, ~candidates] = -np.inf
    out = {}
    for name, target in targets.items():
        own = scores[row, np.maximum(target, 0)][:, None]
        better = (masked >= own).sum(1)
        for other_name, other in targets.items():
            if other_name != name:
                there = (other >= 0) & (other != target)
                better -= there & (scores[row, np.maximum(other, 0)] >= own[:, 0])
        # The target itself was counted, which makes the count the rank.
        out[name] = np.where(target >= 0, better, 0)
    return out


def _sampled_ranks(
    scores: np.ndarray,
    users: np.ndarray,
    train: Rows,
    targets: Mapping[str, np.ndarray],
    protocol: EvalProtocol,
    candidates: np.ndarray | None,
) -> dict[str, np.ndarray]:
    items = scores.shape[1]
    seen = np.zeros(scores.shape, dtype=bool)
    first, last = train.indptr[users[0]], train.indptr[users[-1] + 1]
    seen[np.repeat(np.arange(len(users)), train.counts[users]), train.indices[first:last]] = True
    if candidates is not None:
        seen |= ~candidates
    for target in targets.values():
        has = target >= 0
        seen[np.flatnonzero(has), target[has]] = True
    # A permutation of all items a user; the first unseen ones are a sample without replacement.
    bound = np.full(len(users), items)
    order = draw_below(protocol.seed, "evaluation", 0, users, bound, items)
    free = ~np.take_along_axis(seen, order, axis=1)
    chosen = free & (np.cumsum(free, axis=1) <= protocol.sampled_negatives)
    shuffled = np.take_along_axis(scores, order, axis=1)
    row = np.arange(len(users))
    out = {}
    for name, target in targets.items():
        own = scores[row, np.maximum(target, 0)][:, None]
        out[name] = np.where(target >= 0, 1 + ((shuffled >= own) & chosen).sum(1), 0)
    return out


def hits(ranks: np.ndarray, cutoff: int) -> np.ndarray:
    """Return 1 where the target is among the first `cutoff`, else 0: [users] float."""
    return np.asarray((ranks >= 1) & (ranks <= cutoff), dtype=np.float64)


def gains(ranks: np.ndarray, cutoff: int) -> np.ndarray:
    """Return the NDCG of one target, 1 / log2(rank + 1) within the cutoff: [users] float."""
    return hits(ranks, cutoff) / np.log2(np.maximum(ranks, 1) + 1.0)


def metrics_from_ranks(
    ranks: np.ndarray, cutoffs: tuple[int, ...] = CUTOFFS
) -> dict[str, float]:
    """Return hr@k, ndcg@k and recall@k over the users that have a target (rank >= 1).

    Raises ScoreError where no user has one.
    """
    have = ranks[ranks >= 1]
    if not len(have):
        raise ScoreError("no user has a held-out item to rank")
    out: dict[str, float] = {}
    for cutoff in cutoffs:
        out[f"hr@{cutoff}"] = float(hits(have, cutoff).mean())
        out[f"ndcg@{cutoff}"] = float(gains(have, cutoff).mean())
        out[f"recall@{cutoff}"] = out[f"hr@{cutoff}"]
    return out


def paired_interval(
    ours: np.ndarray, theirs: np.ndarray, seed: int, draws: int = 10_000
) -> tuple[float, float, float]:
    """Return the mean difference of a per-user metric and its 95% interval; arrays [seeds, users].

    Users and seeds are both resampled (percentile bootstrap): a gain must hold for other users and
    for other seeds.
    """
    difference = ours - theirs
    rng = np.random.default_rng(seed)
    seeds, users = difference.shape
    means = np.empty(draws)
    for draw in range(draws):
        rows = rng.integers(0, seeds, seeds)
        weights = np.bincount(rng.integers(0, users, users), minlength=users)
        means[draw] = difference[rows].mean(0) @ weights / users
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


@dataclass
class BestRound:
    """This is the best validation value so far, and how many evaluations have passed since.

    patience: the evaluations without a better value after which training stops, 0 for never. value:
    the best value. round: the round that had it. waited: the evaluations since.
    """

    patience: int
    value: float = -np.inf
    round: int = -1
    waited: int = 0

    def better(self, value: float, round_: int) -> bool:
        """Note the value of a round. Return whether it is the best yet (ties keep the earlier
        round)."""
        if value > self.value:
            self.value, self.round, self.waited = value, round_, 0
            return True
        self.waited += 1
        return False

    @property
    def stop(self) -> bool:
        """Return whether patience has run out; patience 0 never stops."""
        return 0 < self.patience <= self.waited
