"""Why a model ranks an item first, in words: what its score has that the user's average item has
not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from privfedmm.base.features import unit_rows
from privfedmm.data import Dataset

# How parts end that read a modality of the user's own items.
_OF_CONTENT = (" profile", " taste")
_CALLED = {
    "trained tables": "what was learnt from all users", "group": "the user's group",
    "associations": "what goes with the user's own items",
    "public content": "how like all of them its content is"}


def reason(
    data: Dataset, user: int, item: int, parts: Mapping[str, np.ndarray], titles: list[str]
) -> str:
    """Return a sentence on why this item is ranked before the user's average one.

    parts: those that add up to the user's scores, by name: [items] each. titles [items]: how items
    are called. A part is told by how much it lifts the item above the mean over all items, the
    largest first; of what a profile or taste reads, the most alike item of the user's own is named.
    """
    lifts = {name: float(part[item] - part.mean()) for name, part in parts.items()}
    told = [_told(name, lift, data, user, item, titles)
            for name, lift in sorted(lifts.items(), key=lambda pair: -pair[1])
            if abs(lift) >= 0.005]
    return "; ".join(told) if told else "nothing sets it apart from the average item"


def _told(
    name: str, lift: float, data: Dataset, user: int, item: int, titles: list[str]
) -> str:
    amount = f"({lift:+.2f})"
    modality = name.rpartition(" ")[0]
    own = data.train.row(user)
    if name.endswith(_OF_CONTENT) and modality in data.features and len(own):
        unit = unit_rows(data.features[modality], data.present.get(modality))
        nearest = titles[int(own[np.argmax(unit[own] @ unit[item])])]
        return (f"its {modality} is like the user's own items', most of all {nearest!r} {amount}"
                if lift > 0 else f"its {modality} is unlike the user's own items' {amount}")
    return f"{_CALLED.get(name, name)} speaks {'for' if lift > 0 else 'against'} it {amount}"
