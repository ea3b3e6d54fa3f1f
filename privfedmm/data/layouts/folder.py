"""Reading a folder in whichever layout its files say, or one file alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from privfedmm.data.layouts.items import add_items, item_file
from privfedmm.data.layouts.layout import LAYOUTS
from privfedmm.data.layouts.table import TABLE, columns_in, read_file, tables_in
from privfedmm.data.raw import AS_IT_IS, DataError, Raw, Reading


def read_data(place: Path, reading: Reading = AS_IT_IS) -> Raw:
    """Read a folder as `read_folder` does, or one file alone. Raises DataError."""
    if place.is_file():
        raw = read_file(place.resolve(), reading)
        first = raw.lines[0]
        return replace(raw, lines=[
            replace(first, says=f"one file: {first.says}"), *raw.lines[1:]])
    return read_folder(place, reading)


def read_folder(folder: Path, reading: Reading = AS_IT_IS) -> Raw:
    """Read a folder in whichever layout its files say. Raises DataError for none or several."""
    if not folder.exists():
        raise DataError(f"there is no data set or folder called {folder}, nor a file; "
                        "`privfedmm data list` shows the known names")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; give the folder that holds it")
    folder = folder.resolve()
    found = [layout for layout in LAYOUTS if layout.recognises(folder)]
    if not found and len(tables_in(folder, reading)) == 1:
        return TABLE.raw(folder, reading)
    if len(found) != 1:
        what = "fits several layouts: " + ", ".join(x.name for x in found) if found else (
            "fits no known layout")
        files = ", ".join(sorted(p.name for p in folder.iterdir())[:20]) or "nothing"
        if not found and (columns := columns_in(folder)):
            held = "; ".join(f"{name} has the columns {', '.join(names)}"
                             for name, names in columns.items())
            raise DataError(f"{folder.name} holds no table whose columns name a user and an item: "
                            f"{held}; say which is which with --columns user=NAME,item=NAME")
        needs = "\n".join(f"  {layout.name}: {layout.summary}" for layout in LAYOUTS)
        raise DataError(f"{folder.name} {what}; it holds {files}; "
                        f"what each layout needs:\n{needs}")
    return found[0].raw(folder, reading)


def read_items(folder: Path) -> Raw:
    """Read items and features of a folder that has them alone: items.csv and, where there are any,
    MODALITY_feat.npy or texts and pictures. Raises DataError, also where it holds interactions.
    """
    if item_file(folder) is None:
        raise DataError(f"{folder} holds no items.csv, which lists the items (item_id) that all "
                        "nodes may name; add it")
    for layout in LAYOUTS:
        rows = layout.interaction_files(folder)
        # A layout may be recognised by more than the files that it names.
        if rows or layout.recognises(folder):
            held = rows[0] if rows else f"interactions in the layout {layout.name}"
            raise DataError(f"{folder} holds {held}: users' rows stay with their nodes; give a "
                            "folder of items.csv and features alone")
    nobody = pd.DataFrame({"user": [], "item": []})
    raw = Raw(folder.resolve().name, "items.csv", nobody, nobody)
    add_items(folder, raw)
    if not len(raw.items):
        raise DataError(f"{folder}: items.csv lists no items; add some lines below the header")
    return raw
