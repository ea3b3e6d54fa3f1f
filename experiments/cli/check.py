"""`privfedmm data check`: what a run would read, and a picture of who has how much."""

from __future__ import annotations

from typing import Any

import numpy as np

from privfedmm.config import resolve
from privfedmm.data import Dataset
from privfedmm.runs.run import load_data

_WIDTH = 30  # characters of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def check(dataset: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of a data set, and how many users and items have how many interactions.

    given: settings of the data by path, None for those that are not given. Texts and pictures are
    not encoded. Raises UserError for faults in the data.
    """
    plain = {"encoders.text_model": "none", "encoders.image_model": "none"}
    config = resolve(None, {**plain, **given, "dataset": dataset})
    data = load_data(config)
    sentences = [f"{'read':<11}{data.name}, generated"] if data.summary is None else (
        data.summary.sentences())
    return {
        "name": data.name,
        "users": data.num_users, "items": data.num_items, "interactions": data.num_interactions,
        "modalities": {name: int(x.shape[1]) for name, x in sorted(data.features.items())},
        "sentences": sentences,
        "summary": None if data.summary is None else data.summary.to_json(),
        "activity": spread(_a_user(data)), "popularity": spread(_an_item(data)),
    }


def _a_user(data: Dataset) -> np.ndarray:
    held = (data.validation >= 0).astype(int) + (data.test >= 0)
    return np.asarray(data.train.counts + held)


def _an_item(data: Dataset) -> np.ndarray:
    items = [data.train.indices, *(t[t >= 0] for t in (data.validation, data.test))]
    return np.bincount(np.concatenate(items), minlength=data.num_items)


def spread(counts: np.ndarray) -> dict[str, Any]:
    """Return least, median, most, and how many have 0, 1, 2 to 3, 4 to 7 and so on.

    counts [n]: interactions of each. bins: (from, to, how many).
    """
    place = np.zeros(len(counts), dtype=int)
    place[counts > 0] = np.floor(np.log2(counts[counts > 0])).astype(int) + 1
    many = np.bincount(place)
    bins = [(0 if n == 0 else 2 ** (n - 1), 0 if n == 0 else 2**n - 1, int(m))
            for n, m in enumerate(many)]
    first = next((n for n, (_, _, m) in enumerate(bins) if m), 0)
    return {"least": int(counts.min()), "median": float(np.median(counts)),
            "most": int(counts.max()), "bins": bins[first:]}


def picture(found: dict[str, Any]) -> list[str]:
    """Return two bar charts as lines of text: activity of users and popularity of items."""
    out = []
    for name, who in (("activity", "users"), ("popularity", "items")):
        held = found[name]
        out += ["", f"{name}: interactions of {found[who]:,} {who}, {held['least']:,} to "
                    f"{held['most']:,}, median {held['median']:g}"]
        most = max(count for _, _, count in held["bins"])
        for low, high, count in held["bins"]:
            label = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            out.append(f"{label:>19} {_bar(count / most)} {count:,}")
    return out


def _bar(share: float) -> str:
    eighths = round(share * _WIDTH * 8)
    whole, rest = divmod(max(eighths, 1 if share > 0 else 0), 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(_WIDTH)
