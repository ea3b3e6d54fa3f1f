"""What a loader hands on, before anything is filtered, split or indexed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.raw.reading import Line


@dataclass
class Raw:
    """This is what a loader hands on.

    name: the name of the data set. source: the source of the interactions, for sentences. frame:
    the columns user, item (str), line (int, as in the file), time (number or absent) and split
    (train, validation, test or absent), in file order. items: the metadata indexed by item id
    (str). features: modality -> (item ids in row order, matrix [rows, F] float32). present:
    modality -> bool [rows], only where some are missing. feature_notes: modality -> how its
    features were made. pictures: the folder or zip of pictures. given_test: the columns user and
    item, where the layout names test items. item_source: the source of the item table, for
    sentences. notes: whole sentences for the record. catalogue: the table of all items, indexed by
    id, where they are listed apart from the rows; None where rows alone tell of them. users: the
    ids of all who take part, where they are listed; None for those who have rows. lines: what was
    read, dropped, ignored or guessed so far, for the summary. untimed: why the times of the rows
    are not used, where there are any; nothing else. everyone: as in `Interactions`; a budget counts
    them as users, who were emptied and not removed. unasked: the modalities that nobody gave as
    such; one that tells nothing of the items that are left is left out, not refused.
    """

    name: str
    source: str
    frame: pd.DataFrame
    items: pd.DataFrame
    features: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    present: dict[str, np.ndarray] = field(default_factory=dict)
    feature_notes: dict[str, str] = field(default_factory=dict)
    pictures: Path | None = None
    given_test: pd.DataFrame | None = None
    item_source: str = "items.csv"
    notes: list[str] = field(default_factory=list)
    catalogue: pd.DataFrame | None = None
    users: np.ndarray | None = None
    lines: list[Line] = field(default_factory=list)
    untimed: str = ""
    everyone: np.ndarray | None = None
    unasked: frozenset[str] = frozenset()
