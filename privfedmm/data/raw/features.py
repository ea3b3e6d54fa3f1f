"""Features of items as files hold them: a matrix of numbers, and a mask of who has the modality."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from privfedmm.data.raw.errors import DataError

ARRAYS = (".npy", ".npz", ".pt", ".pth")
_ENDING = re.compile(r"[_.\-](features?|feats?|emb|embs|embeddings?|vectors?)$", re.IGNORECASE)
_MASK = "_mask.npy"


def modality_of(path: Path) -> str:
    """Return the modality that the name of a feature file tells: `image` of image_feat.npy, and of
    image_features.npz, image.npy and the like."""
    return _ENDING.sub("", path.stem)


def says_features(path: Path) -> bool:
    """Return whether a file's name says that it holds features, so that it must not be left out."""
    return _ENDING.search(path.stem) is not None


def array_files(folder: Path) -> list[Path]:
    """Return the files of arrays in a folder, in order, without masks of who has a modality."""
    return sorted(f for f in folder.iterdir()
                  if f.suffix.lower() in ARRAYS and not f.name.endswith(_MASK) and f.is_file())


def presence(path: Path) -> np.ndarray | None:
    """Read MODALITY_mask.npy beside a feature file: [rows] bool, which items have the modality.

    It is None without such a file. Raises DataError for another shape or kind.
    """
    path = _mask_file(path)
    if not path.exists():
        return None
    try:
        mask = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path.name} is not a .npy array: {error}") from error
    if mask.dtype != np.bool_ or mask.ndim != 1:
        raise DataError(f"{path.name} must hold one true or false (bool) an item; "
                        f"it has shape {mask.shape} and type {mask.dtype}")
    return np.asarray(mask)


def _mask_file(path: Path) -> Path:
    return path.with_name(modality_of(path) + _MASK)


def load_array(path: Path) -> np.ndarray:
    """Read the one array of a .npy, .npz or .pt file, of any shape. Raises DataError for none."""
    kind = path.suffix.lower()
    try:
        if kind == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        held = _packed(path) if kind == ".npz" else _tensors(path)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        raise DataError(f"{path.name} is not a {kind} array of numbers: "
                        f"{str(error).partition(chr(10))[0]}") from error
    return _only(path, held)


def _packed(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def _tensors(path: Path) -> dict[str, Any]:
    import pickle

    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError("it holds more than tensors") from error
    return found if isinstance(found, dict) else {"tensor": found}


def _only(path: Path, found: dict[str, Any]) -> np.ndarray:
    if len(found) != 1 or not hasattr(next(iter(found.values())), "shape"):
        raise DataError(f"{path.name} holds {len(found)} things ({', '.join(map(str, found))}); "
                        "save the one matrix of features as .npy")
    only = next(iter(found.values()))
    return np.asarray(only.float().numpy() if hasattr(only, "numpy") else only)


def refuse_flat(source: str, modality: str, rows: np.ndarray, how: str = "") -> None:
    """Refuse a modality in which nothing varies, or whose numbers are of no use. Raises DataError.

    rows [items, F]: of the items that have it. how: how they were made, in words. Means and
    products of features are taken in 32 bits, where 1e15 squared overflows in a sum of many, 1e-15
    squared vanishes, and differences of a millionth of the values are lost.
    """
    if len(rows) < 2:
        return
    spread = float(np.ptp(rows, axis=0).max())
    largest = float(np.abs(rows).max())
    fix = "check what made them, or take that modality away" + (f" ({how})" if how else "")
    if spread == 0:
        raise DataError(f"{source}: nothing varies in the {modality} features, all of {len(rows)} "
                        f"items have the same row; {fix}")
    if largest > 1e15 or largest < 1e-15 or spread < 1e-6 * largest:
        raise DataError(
            f"{source}: the {modality} features are of no scale to work with, their values reach "
            f"{largest:.2g} and differ by {spread:.2g} at most; centre and scale them, or {fix}")


def feature_matrix(
    path: Path, rows: int | None, present: np.ndarray | None = None
) -> np.ndarray:
    """Read a [rows, F] float32 matrix from a file of one array; rows None: any number.

    present [rows]: rows that it marks as missing may hold anything and become 0.
    Raises DataError for another shape or kind, too few or many rows, NaN or infinity (with row).
    """
    mask = _mask_file(path).name
    return checked_matrix(
        load_array(path), path.name, rows, present, mask, f"mark it missing in {mask}")


def checked_matrix(
    matrix: np.ndarray, name: str, rows: int | None, present: np.ndarray | None, mask: str,
    missing: str,
) -> np.ndarray:
    """Return the matrix [rows, F] as float32, after the checks of `feature_matrix`.

    name, mask: what sentences call the matrix and the mask. missing: how to say that an item lacks
    the modality. Raises DataError.
    """
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or matrix.shape[1] == 0:
        raise DataError(f"{name} must be a matrix of numbers, one row an item; it has shape "
                        f"{matrix.shape} and type {matrix.dtype}")
    if rows is not None and len(matrix) != rows:
        raise DataError(f"{name} has {len(matrix)} rows but there are {rows} items; "
                        "give one row an item, in the order of the item table")
    if present is not None and len(present) != len(matrix):
        raise DataError(f"{mask} has {len(present)} values but {name} has "
                        f"{len(matrix)} rows; give one value a row")
    with np.errstate(over="ignore"):
        single = matrix.astype(np.float32)
    if present is not None:
        single[~present] = 0
    bad = ~np.isfinite(single).all(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{name} row {row} (counted from 0) holds NaN, infinity or a number "
                        f"too large for 32 bits; replace it, drop the item, or {missing}")
    return single
