"""Ranking every item for every user: ranks first, metrics from ranks.

Candidates are all items outside the user's training set, without what else of the user's is held
out; ties count against the target; a NaN score is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from privfedmm.base.streams import draw_below
from privfedmm.data.types import Dataset, Held, Rows
from privfedmm.evaluation.metrics import ScoreError, metrics_from_ranks
from privfedmm.evaluation.places import Places, Ranks, as_rows

TARGETS = ("validation", "test")
_COUNTED = 24  # targets of a user up to which they are counted one by one
Scorer = Callable[[np.ndarray], np.ndarray]  # users [m] int64 -> scores [m, items] float32


@dataclass(frozen=True)
class EvalProtocol:
    """Targets are ranked against all items, or against `sampled_negatives` random ones a user.

    The random items come from a named stream of the seed. metrics: the names of what is computed
    beside hr, ndcg and recall at the usual cutoffs.
    """

    sampled_negatives: int = 0
    seed: int = 0
    metrics: tuple[str, ...] = ()

    @property
    def ranking(self) -> str:
        """Return the name of the way of ranking: figures compare where it is the same."""
        return f"sampled-{self.sampled_negatives}" if self.sampled_negatives else "full"


@dataclass(frozen=True)
class Evaluation:
    """An evaluation holds the ranks of targets, and the metrics that follow from them.

    ranks: target name -> [users] int32, 0 where a user has no target; or `Places`, where a user has
    several. more: names of metrics beside the usual ones.
    """

    ranks: dict[str, Ranks]
    more: tuple[str, ...] = ()

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Return the metrics: target name -> metric name -> mean over users."""
        return {name: metrics_from_ranks(ranks, more=self.more)
                for name, ranks in self.ranks.items()}


def evaluate_on(
    score: Scorer, data: Dataset, protocol: EvalProtocol, block: int = 512
) -> Evaluation:
    """Rank all that is held out of a data set, as `evaluate` does."""
    return evaluate(score, data.train, data.targets, protocol, block, data.candidates, data.aside)


def evaluate(
    score: Scorer,
    train: Rows,
    targets: Mapping[str, Held],
    protocol: EvalProtocol,
    block: int = 512,
    candidates: np.ndarray | None = None,
    aside: Rows | None = None,
) -> Evaluation:
    """Rank all targets in one pass over the users, `block` users at a time.

    targets: target name -> one item a user or -1 [users], or rows of several. A user's targets of
    one name are ranked in one list, without those of other names. candidates [items] bool: the
    items that targets are ranked among, themselves included; None for all. aside: further items of
    each user that are no candidates. Nothing of users times items is kept. Raises ScoreError for
    NaN or infinite scores, naming the first user.
    """
    held = {name: as_rows(target) for name, target in targets.items()}
    known = [train, *([] if aside is None else [aside]), *held.values()]
    ranks = {name: np.zeros(len(rows.indices), dtype=np.int32) for name, rows in held.items()}
    for start in range(0, train.users, block):
        stop = min(start + block, train.users)
        users = np.arange(start, stop)
        scores = np.asarray(score(users), dtype=np.float32)
        if not np.isfinite(scores).all():
            bad = int(users[np.flatnonzero(~np.isfinite(scores).all(axis=1))[0]])
            raise ScoreError(f"the model gave user {bad} a score that is NaN or infinite; "
                             "training has diverged: lower the learning rates")
        rivals = _rivals(scores, users, [rows.of_users(start, stop) for rows in known], protocol,
                         candidates)
        for name, rows in held.items():
            ranks[name][rows.indptr[start] : rows.indptr[stop]] = _places(
                rivals, scores, rows.of_users(start, stop))
    return Evaluation({name: Places(held[name].counts, found).simplest()
                       for name, found in ranks.items()}, protocol.metrics)


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


def _rivals(
    scores: np.ndarray, users: np.ndarray, known: list[Rows], protocol: EvalProtocol,
    candidates: np.ndarray | None,
) -> np.ndarray:
    """The scores [m, items] of what targets are ranked against, -inf for everything else.

    known: items that are no rivals of these users, their targets among them.
    """
    out = np.zeros(scores.shape, dtype=bool)
    for rows in known:
        out[rows.owner, rows.indices] = True
    if candidates is not None:
        out[:, ~candidates] = True
    if not protocol.sampled_negatives:
        return np.where(out, np.float32(-np.inf), scores)
    # A permutation of all items a user; the first free ones are a sample without replacement.
    items = scores.shape[1]
    bound = np.full(len(users), items)
    order = draw_below(protocol.seed, "evaluation", 0, users, bound, items)
    free = ~np.take_along_axis(out, order, axis=1)
    chosen = free & (np.cumsum(free, axis=1) <= protocol.sampled_negatives)
    rivals = np.full(scores.shape, -np.inf, dtype=np.float32)
    shuffled = np.take_along_axis(scores, order, axis=1)
    np.put_along_axis(rivals, order, np.where(chosen, shuffled, np.float32(-np.inf)), axis=1)
    return rivals


def _places(rivals: np.ndarray, scores: np.ndarray, held: Rows) -> np.ndarray:
    """The ranks [n] of the held-out items of a block of users, ascending for each user."""
    owner = held.owner
    own = scores[owner, held.indices]
    if held.counts.max(initial=0) <= 1:
        bar = np.full(held.users, np.inf, dtype=np.float32)
        bar[owner] = own
        better = (rivals >= bar[:, None]).sum(1)[owner]
    else:
        better = np.concatenate([
            _beaten(rivals[user], own[start:stop])
            for user, (start, stop) in enumerate(pairwise(held.indptr))])
    # Of one user's targets those come first that fewer rivals beat; of equal ones either may.
    better = better[np.lexsort((better, owner))]
    return better + Places(held.counts, better).nth


def _beaten(rivals: np.ndarray, own: np.ndarray) -> np.ndarray:
    """For the score of each of one user's targets, how many rivals [items] are as good or better.

    Counting takes a pass a target; from some targets on, sorting the rivals once is cheaper.
    """
    if len(own) <= _COUNTED:
        return np.count_nonzero(rivals >= own[:, None], axis=1)
    return len(rivals) - np.searchsorted(np.sort(rivals), own)
