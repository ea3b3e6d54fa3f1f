"""The item table of our own layout, with its features and pictures."""

from __future__ import annotations

from pathlib import Path

from privfedmm.data.raw import DataError, Raw, feature_matrix, item_table, presence

_SUFFIX = "_feat.npy"


def add_items(folder: Path, raw: Raw) -> bool:
    """Add items.csv with its features and pictures to `raw`; return whether there is such a table.

    Raises DataError for features without items.csv and for faults in any of the files.
    """
    items_path = folder / "items.csv"
    feature_files = sorted(folder.glob(f"*{_SUFFIX}"))
    if items_path.exists():
        # Where texts are to be encoded, a fault in one of them is that item's alone.
        raw.items = item_table(items_path, ",", "item_id", lenient=not feature_files)
        places = (folder / "images", folder / "images.zip")
        raw.pictures = next((place for place in places if place.exists()), None)
    elif feature_files:
        raise DataError(f"{folder.name} has {feature_files[0].name} but no items.csv, which says "
                        "whose row is whose; add items.csv with a column item_id")
    ids = raw.items.index.to_numpy().astype(str)
    masks = {f: presence(f) for f in feature_files}
    raw.features = {
        f.name.removesuffix(_SUFFIX): (ids, feature_matrix(f, len(raw.items), mask))
        for f, mask in masks.items()
    }
    raw.present = {
        f.name.removesuffix(_SUFFIX): mask for f, mask in masks.items() if mask is not None}
    return items_path.exists()
