"""Features of items as files hold them: a matrix of numbers, and a mask of who has the modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from privfedmm.data.raw.errors import DataError


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
    return path.with_name(path.name.rpartition("_")[0] + "_mask.npy")


def feature_matrix(
    path: Path, rows: int | None, present: np.ndarray | None = None
) -> np.ndarray:
    """Read a [rows, F] float32 matrix from a .npy file; rows None: any number.

    present [rows]: rows that it marks as missing may hold anything and become 0.
    Raises DataError for another shape or kind, too few or many rows, NaN or infinity (with row).
    """
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path.name} is not a .npy array of numbers: {error}") from error
    mask = _mask_file(path).name
    return checked_matrix(
        matrix, path.name, rows, present, mask, f"mark it missing in {mask}")


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
