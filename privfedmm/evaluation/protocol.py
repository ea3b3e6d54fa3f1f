"""How models are ranked, in the words and numbers of a record."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from privfedmm.data.types import Dataset, Held
from privfedmm.evaluation.metrics import cut_of, every_name
from privfedmm.evaluation.places import as_rows
from privfedmm.evaluation.ranking import EvalProtocol


def describe(protocol: EvalProtocol, data: Dataset) -> dict[str, object]:
    """Return the words that go into a record: ranking, candidates, ties, targets a user.

    Where rivals are sampled they say how many there were, for users may have fewer left.
    """
    out: dict[str, object] = {
        "ranking": protocol.ranking,
        "candidates": _candidates(protocol, data),
        "ties": "against the target",
        "targets_per_user": "every held-out item" if data.every_target else 1,
        "targets": targets_of(data.targets),
        "further_held_out": 0 if data.aside is None else len(data.aside.indices),
        "metrics": list(protocol.metrics),
        "metrics_note": reach(protocol, data),
    }
    if protocol.sampled_negatives:
        left = np.minimum(rivals_left(data), protocol.sampled_negatives)
        out["negatives"] = {
            "asked": protocol.sampled_negatives,
            "smallest": int(left.min()) if len(left) else 0,
            "mean": float(left.mean()) if len(left) else 0.0,
            "users_with_fewer": int((left < protocol.sampled_negatives).sum())}
    return out


def targets_of(targets: Mapping[str, Held]) -> dict[str, dict[str, float]]:
    """Return how many held-out items are ranked: by target the users that have any, and least, mean
    and most of one of them."""
    out = {}
    for name, held in targets.items():
        counts = as_rows(held).counts
        counts = counts[counts > 0]
        few, mean = (int(counts.min()), float(counts.mean())) if len(counts) else (0, 0.0)
        out[name] = {"users": len(counts), "min": few, "mean": mean,
                     "max": int(counts.max(initial=0))}
    return out


def rivals_left(data: Dataset) -> np.ndarray:
    """Return how many items are left to rank against, of each user who has a held-out item [n]."""
    among = np.ones(data.num_items, dtype=bool) if data.candidates is None else data.candidates
    targets = [as_rows(held) for held in data.targets.values()]
    known = [data.train, *targets, *([] if data.aside is None else [data.aside])]
    out = np.full(data.num_users, int(among.sum()))
    for rows in known:
        out -= np.bincount(rows.owner[among[rows.indices]], minlength=data.num_users)
    return out[sum(rows.counts for rows in targets) > 0]


def reach(protocol: EvalProtocol, data: Dataset) -> str:
    """Return a sentence on metrics whose list is as long as all candidates; "" without any."""
    items = data.num_items if data.candidates is None else int(data.candidates.sum())
    if protocol.sampled_negatives:
        most = as_rows(data.targets["test"]).counts.max(initial=1)
        items = min(items, protocol.sampled_negatives + int(most))
    long = [name for name in every_name(protocol.metrics) if cut_of(name).k >= items]
    if not long:
        return ""
    return (f"{', '.join(long)}: a list has no more than {items} candidates, so every held-out "
            "item is in it")


def _candidates(protocol: EvalProtocol, data: Dataset) -> str:
    # Where no user has more than one, all of them are the one: the same ranking, the same words.
    several = data.every_target and bool(data.further)
    if not protocol.sampled_negatives:
        others = "those held out for the other purpose, validation or test" if (
            several) else "the user's other held-out items" if (
            data.further) else "the other held-out item"
        words = f"all items outside the user's training set, without {others}"
    else:
        whose = "the user's targets" if several else "the target"
        left = np.minimum(rivals_left(data), protocol.sampled_negatives)
        words = (f"{whose} and {protocol.sampled_negatives} random items the user has not "
                 f"interacted with (stream seed {protocol.seed})")
        if (left < protocol.sampled_negatives).any():
            words += (f"; users who have fewer left meet all of those: {int(left.min())} at least, "
                      f"{left.mean():.1f} on average")
    if data.candidates is not None:
        words += (f"; of the {int(data.candidates.sum())} items of the "
                  f"{data.protocol.k_core}-core, which the experimenter takes from all rows and no "
                  "claim covers")
    return words
