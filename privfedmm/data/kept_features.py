"""The features of the items that are left, of all that were read."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from privfedmm.data.raw import DataError, Line, Raw
from privfedmm.data.raw.features import refuse_flat


def features_of(
    raw: Raw, items: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the features of these items, and which items have them where some lack them.

    Both are by modality: [items, F] float32 and [items] bool. A modality that nobody asked for is
    left out where it tells nothing of these items. Raises DataError for another that no item has.
    """
    features, present = {}, {}
    for modality, (ids, matrix) in raw.features.items():
        place = pd.Series(np.arange(len(ids)), index=ids).loc[items].to_numpy()
        rows = matrix[place]
        mask = raw.present.get(modality, np.ones(len(ids), dtype=bool))[place]
        if modality in raw.unasked and (mask.sum() < 2 or not np.ptp(rows[mask], axis=0).any()):
            continue
        features[modality] = rows
        how = [line.says for line in raw.lines if f"{modality}_cut" in line.values]
        refuse_flat(raw.source, modality, features[modality][mask], "".join(how))
        if not mask.any():
            raise DataError(f"{raw.source}: no item that is left has {modality}; give some, or "
                            "take the modality away")
        if not mask.all():
            present[modality] = mask
    return features, present


def left_out(raw: Raw, features: Collection[str]) -> list[Line]:
    """Return lines of the summary that name the modalities which `features_of` left out."""
    return [Line("content", f"{name}: left out, it is the same of all items that are left")
            for name in sorted(raw.unasked) if name not in features]
