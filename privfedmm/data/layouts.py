"""The four folder layouts, each told apart by the files that are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.raw import Raw, feature_matrix, interactions, item_table, read_table
from privfedmm.data.types import DataError

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
    found = [(name, load) for name, load, fits in _KINDS if fits(folder)]
    if len(found) != 1:
        what = "fits several layouts: " + ", ".join(n for n, _ in found) if found else (
            "fits no known layout")
        files = ", ".join(sorted(p.name for p in folder.iterdir())[:20]) or "nothing"
        raise DataError(f"{folder.name} {what}; it holds {files}; {_LAYOUTS}")
    return found[0][1](folder)


def _ours(folder: Path) -> Raw:
    path = folder / "interactions.csv"
    if not path.exists():
        path = folder / "interactions.csv.gz"
    table = read_table(path, ",")
    time = "timestamp" if "timestamp" in table.columns else "date"
    frame = interactions(
        table, path, {"user": "user_id", "item": "item_id", "time": time, "split": "split"}, _SPLITS
    )
    items_path = folder / "items.csv"
    feature_files = sorted(folder.glob("*_feat.npy"))
    if items_path.exists():
        items = item_table(items_path, ",", "item_id")
    elif feature_files:
        raise DataError(f"{folder.name} has {feature_files[0].name} but no items.csv, which says "
                        "whose row is whose; add items.csv with a column item_id")
    else:
        items = pd.DataFrame(index=pd.Index(frame["item"].unique()))
    unknown = ~frame["item"].isin(items.index)
    if items_path.exists() and unknown.any():
        row = frame[unknown].iloc[0]
        raise DataError(f"{path.name} line {row['line']}: item {row['item']} is not in items.csv; "
                        "add it there or delete the line")
    ids = items.index.to_numpy().astype(str)
    features = {
        f.name.removesuffix("_feat.npy"): (ids, feature_matrix(f, len(items)))
        for f in feature_files
    }
    raw = Raw(folder.name, path.name, frame, items, features)
    last = folder / "last_interaction.csv"
    if last.exists():
        given = read_table(last, ",")
        raw.given_test = interactions(given, last, {"user": "user_id", "item": "item_id"}, {})
    return raw


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
    return Raw(path.stem, path.name, frame, items)


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
    columns = {"user": users, "item": items_column, "time": "timestamp", "split": "x_label"}
    frame = interactions(table, path, columns, _SPLITS)
    ids = frame["item"].unique()
    features = {}
    for file in sorted(folder.glob(f"*{suffix}")):
        matrix = feature_matrix(file, None)
        names = np.arange(len(matrix)).astype(str)
        strange = ~frame["item"].isin(names)
        if strange.any():
            row = frame[strange].iloc[0]
            raise DataError(f"{path.name} line {row['line']}: item {row['item']} has no row in "
                            f"{file.name}, which has {len(matrix)} rows; item ids must be row "
                            "numbers from 0")
        features[file.name.removesuffix(suffix)] = (names, matrix)
    return Raw(name, path.name, frame, pd.DataFrame(index=pd.Index(ids)), features)


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
    ("ours", _ours, lambda f: any(f.glob("interactions.csv*"))),
    ("RecBole", _recbole, lambda f: ":token" in _header(f)),
    ("MMRec", _mmrec, lambda f: bool(_header(f)) and ":token" not in _header(f)),
    ("GFMFR", _gfmfr, lambda f: (f / "inter.csv").exists()),
)
