"""The four folder layouts, each told apart by the files that are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.raw import (
    Raw,
    feature_matrix,
    interactions,
    item_table,
    presence,
    read_table,
)
from privfedmm.data.types import DataError

_OURS = ("interactions.csv", "interactions.csv.gz")
_SPLITS = {
    "train": "train", "valid": "validation", "validation": "validation", "test": "test",
    "0": "train", "1": "validation", "2": "test",
}
_LAYOUTS = """what each layout needs:
  ours: interactions.csv or interactions.csv.gz (user_id,item_id), items.csv, MODALITY_feat.npy
  RecBole: NAME.inter (user_id:token, item_id:token), maybe NAME.item
  MMRec: NAME.inter (userID, itemID), image_feat.npy and/or text_feat.npy
  GFMFR: inter.csv (userID,itemID), image_features.npy and/or text_features.npy"""


def read_folder(folder: Path) -> Raw:
    """Read a folder in whichever layout its files say. Raises DataError for none or several."""
    if not folder.exists():
        raise DataError(f"there is no data set or folder called {folder}; "
                        "`privfedmm data list` shows the known names")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; give the folder that holds it")
    folder = folder.resolve()
    found = [(name, load) for name, load, fits in _KINDS if fits(folder)]
    if len(found) != 1:
        what = "fits several layouts: " + ", ".join(n for n, _ in found) if found else (
            "fits no known layout")
        files = ", ".join(sorted(p.name for p in folder.iterdir())[:20]) or "nothing"
        raise DataError(f"{folder.name} {what}; it holds {files}; {_LAYOUTS}")
    return found[0][1](folder)


def _ours(folder: Path) -> Raw:
    path, *second = [folder / name for name in _OURS if (folder / name).exists()]
    if second:
        raise DataError(f"{folder.name} holds both {' and '.join(_OURS)}; keep one of them")
    table = read_table(path, ",")
    time = "timestamp" if "timestamp" in table.columns else "date"
    frame = interactions(
        table, path, {"user": "user_id", "item": "item_id", "time": time, "split": "split"}, _SPLITS
    )
    raw = Raw(folder.name, path.name, frame, pd.DataFrame(index=pd.Index(frame["item"].unique())))
    listed = _add_items(folder, raw)
    unknown = ~frame["item"].isin(raw.items.index)
    if listed and unknown.any():
        row = frame[unknown].iloc[0]
        raise DataError(f"{path.name} line {row['line']}: item {row['item']} is not in items.csv; "
                        "add it there or delete the line")
    last = folder / "last_interaction.csv"
    if last.exists():
        raw.given_test = _last_interactions(last, frame, raw.items.index, listed)
    return raw


def _add_items(folder: Path, raw: Raw) -> bool:
    """items.csv of our layout with its features and pictures; whether there is one."""
    items_path = folder / "items.csv"
    feature_files = sorted(folder.glob("*_feat.npy"))
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
        f.name.removesuffix("_feat.npy"): (ids, feature_matrix(f, len(raw.items), mask))
        for f, mask in masks.items()
    }
    raw.present = {
        f.name.removesuffix("_feat.npy"): mask for f, mask in masks.items() if mask is not None}
    return items_path.exists()


def read_items(folder: Path) -> Raw:
    """Items and features of a folder that has them alone: items.csv and, where there are any,
    MODALITY_feat.npy or texts and pictures. Raises DataError, also where it holds interactions.
    """
    if not (folder / "items.csv").is_file():
        raise DataError(f"{folder} holds no items.csv, which lists the items (item_id) that all "
                        "nodes may name; add it")
    rows = [name for name in (*_OURS, "inter.csv") if (folder / name).exists()]
    rows += sorted(file.name for file in folder.glob("*.inter"))
    if rows:
        raise DataError(f"{folder} holds {rows[0]}: users' rows stay with their nodes; give a "
                        "folder of items.csv and features alone")
    nobody = pd.DataFrame({"user": [], "item": []})
    raw = Raw(folder.resolve().name, "items.csv", nobody, nobody)
    _add_items(folder, raw)
    if not len(raw.items):
        raise DataError(f"{folder}: items.csv lists no items; add some lines below the header")
    return raw


def _last_interactions(
    path: Path, frame: pd.DataFrame, items: pd.Index, listed: bool
) -> pd.DataFrame:
    """The test item of each user. Raises DataError for a user or pair that is not in the data.

    listed: there is an items.csv. A pair whose item it leaves out is no fault: items were trimmed
    from the data, which leaves that user without a test item.
    """
    given = interactions(
        read_table(path, ","), path, {"user": "user_id", "item": "item_id"}, {})
    stranger = ~given["user"].isin(frame["user"])
    pairs = pd.MultiIndex.from_frame(given[["user", "item"]])
    absent = pd.Series(
        ~pairs.isin(pd.MultiIndex.from_frame(frame[["user", "item"]])), index=given.index)
    if listed:
        absent &= given["item"].isin(items)
    for fault, what in ((stranger, "has no interactions"), (absent, "has no interaction with it")):
        if fault.any():
            row = given[fault].iloc[0]
            raise DataError(f"{path.name} line {row['line']} names item {row['item']} for user "
                            f"{row['user']}, who {what} in the data; add the pair there or delete "
                            "the line")
    return given


def _inter_file(folder: Path) -> Path:
    return next(iter(sorted(folder.glob("*.inter"))))


def _recbole(folder: Path) -> Raw:
    path = _inter_file(folder)
    table = read_table(path, "\t").rename(columns=lambda c: c.split(":")[0])
    columns = {"user": "user_id", "item": "item_id", "time": "timestamp", "split": "split"}
    frame = interactions(table, path, columns, _SPLITS)
    described = path.with_suffix(".item")
    items = pd.DataFrame(index=pd.Index(frame["item"].unique()))
    if described.exists():
        items = _recbole_items(described).reindex(items.index, fill_value="")
    unused = sorted(file.name for file in folder.glob("*.npy"))
    notes = [f"{', '.join(unused)} not used: RecBole files do not say whose row is whose."]
    return Raw(path.stem, path.name, frame, items, notes=notes if unused else [])


def _recbole_items(path: Path) -> pd.DataFrame:
    table = item_table(path, "\t", "item_id:token").rename(columns=lambda c: c.split(":")[0])
    names = {"movie_title": "title", "class": "genres", "genre": "genres", "release_year": "year"}
    return table.rename(columns=names)


def _by_row_number(
    folder: Path, path: Path, separator: str, suffix: str, name: str
) -> Raw:
    """MMRec and GFMFR: the item id is the row number of its features."""
    table = read_table(path, separator)
    users = "userID" if "userID" in table.columns else "user_id"
    items_column = "itemID" if "itemID" in table.columns else "item_id"
    time = "timestamp" if "timestamp" in table.columns else "date"
    split = "x_label" if "x_label" in table.columns else "split"
    columns = {"user": users, "item": items_column, "time": time, "split": split}
    frame = interactions(table, path, columns, _SPLITS)
    ids = frame["item"].unique()
    features: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    present: dict[str, np.ndarray] = {}
    for file in sorted(folder.glob(f"*{suffix}")):
        mask = presence(file)
        matrix = feature_matrix(file, None, mask)
        if mask is not None:
            present[file.name.removesuffix(suffix)] = mask
        for other, (names, _) in features.items():
            if len(names) != len(matrix):
                raise DataError(f"{file.name} has {len(matrix)} rows but {other}{suffix} has "
                                f"{len(names)}; both need one row an item")
        names = np.arange(len(matrix)).astype(str)
        strange = ~frame["item"].isin(names)
        if strange.any():
            row = frame[strange].iloc[0]
            raise DataError(f"{path.name} line {row['line']}: item {row['item']} has no row in "
                            f"{file.name}, which has {len(matrix)} rows; item ids must be row "
                            "numbers from 0")
        features[file.name.removesuffix(suffix)] = (names, matrix)
    return Raw(name, path.name, frame, pd.DataFrame(index=pd.Index(ids)), features, present)


def _mmrec(folder: Path) -> Raw:
    path = _inter_file(folder)
    return _by_row_number(folder, path, "\t", "_feat.npy", path.stem)


def _gfmfr(folder: Path) -> Raw:
    return _by_row_number(folder, folder / "inter.csv", ",", "_features.npy", folder.name)


def _header(folder: Path) -> str:
    files = sorted(folder.glob("*.inter"))
    if len(files) > 1:
        raise DataError(f"{folder.name} holds several .inter files: "
                        f"{', '.join(f.name for f in files)}; keep one a folder")
    if not files:
        return ""
    with files[0].open(encoding="utf-8", errors="replace") as lines:
        return lines.readline()


_KINDS: tuple[tuple[str, Callable[[Path], Raw], Callable[[Path], bool]], ...] = (
    ("ours", _ours, lambda f: any((f / name).exists() for name in _OURS)),
    ("RecBole", _recbole, lambda f: ":token" in _header(f)),
    ("MMRec", _mmrec, lambda f: bool(_header(f)) and ":token" not in _header(f)),
    ("GFMFR", _gfmfr, lambda f: (f / "inter.csv").exists()),
)
