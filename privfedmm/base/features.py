"""Public item features, prepared once on the server: scaled, joined, projected, compared.

Nothing here depends on an interaction, so none of it costs privacy.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def select(
    features: Mapping[str, np.ndarray], modalities: str | tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return the modalities that a run uses: `all`, `none` or a tuple of names.

    Raises ValueError for a modality that is absent. Row after row in memory: the last bits of a
    product follow from the order, and a node that was sent the features must come to the same space
    as the simulator.
    """
    if modalities == "all":
        return {name: np.ascontiguousarray(matrix) for name, matrix in features.items()}
    if modalities == "none":
        return {}
    missing = [name for name in modalities if name not in features]
    if missing:
        have = ", ".join(sorted(features)) or "none"
        raise ValueError(f"modalities: the data set has no {', '.join(missing)} features; "
                         f"it has {have}")
    return {name: np.ascontiguousarray(features[name]) for name in modalities}


Present = Mapping[str, np.ndarray]  # modality -> [items] bool; absent name: every item has it


def _centred(matrix: np.ndarray, present: np.ndarray | None) -> np.ndarray:
    """Minus the mean over the items that have the modality; the others' rows are 0, the mean.

    present: [items] or [items, F] bool, or None where nothing is missing.
    """
    if present is None:
        return matrix - matrix.mean(0)
    here = present if present.ndim == 2 else present[:, None]
    mean = np.where(here, matrix, 0).sum(0) / np.maximum(here.sum(0), 1)
    return np.asarray(np.where(here, matrix - mean, 0), dtype=matrix.dtype)


def with_masks(
    features: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the features, and beside each modality that some items lack the mask of those that
    have it."""
    return {**features, **{f"{name} present": mask for name, mask in present.items()}}


def unit_rows(matrix: np.ndarray, present: np.ndarray | None = None) -> np.ndarray:
    """Centre a matrix over items, then scale every row to norm 1 (rows without signal stay 0).

    present [items]: rows that are missing count in no mean and are 0: like nothing, unlike nothing.
    """
    centred = _centred(matrix, present)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(norm > 1e-9, norm, 1.0), dtype=np.float32)


def joined(
    features: Mapping[str, np.ndarray], image_weight: float, present: Present | None = None
) -> np.ndarray:
    """Join all modalities side by side [items, sum F]; image columns weigh `image_weight`."""
    parts = [
        unit_rows(matrix, (present or {}).get(name)) * (image_weight if name == "image" else 1.0)
        for name, matrix in sorted(features.items())
    ]
    return np.concatenate(parts, axis=1)


def joined_present(
    features: Mapping[str, np.ndarray], present: Present | None
) -> np.ndarray | None:
    """Return which values of `joined` are there: [items, sum F] bool; None where nothing is
    missing."""
    if not any(name in features for name in present or {}):
        return None
    assert present is not None
    parts = [
        np.broadcast_to(present.get(name, np.ones(len(matrix), dtype=bool))[:, None], matrix.shape)
        for name, matrix in sorted(features.items())
    ]
    return np.concatenate(parts, axis=1)


def principal(
    matrix: np.ndarray, rank: int, present: np.ndarray | None = None
) -> np.ndarray:
    """Return the first `rank` principal components [items, rank] float32 with fixed signs.

    present: [items] or [items, F] bool; what is missing counts as the mean of what is there.
    """
    centred = _centred(matrix, present).astype(np.float64)
    # Through the smaller Gram matrix: items are few, features can be many, or the other way round.
    if centred.shape[0] <= centred.shape[1]:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        order = np.argsort(values)[::-1][:rank]
        components = vectors[:, order] * np.sqrt(np.maximum(values[order], 0))
    else:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        order = np.argsort(values)[::-1][:rank]
        components = centred @ vectors[:, order]
    if present is not None:
        # Rounding must not give a direction to an item that has nothing.
        components[~present.reshape(len(matrix), -1).any(1)] = 0
    largest = np.abs(components).argmax(0)
    signs = np.sign(components[largest, np.arange(components.shape[1])])
    return np.asarray(components * np.where(signs == 0, 1, signs), dtype=np.float32)


def space_of(
    features: Mapping[str, np.ndarray], rank: int, image_weight: float, present: Present
) -> Tensor:
    """Return the leading components of all modalities together [items, <= rank], without those that
    nothing varies along."""
    rows = principal(joined(features, image_weight, present), rank,
                     joined_present(features, present))
    varies = rows.std(0) > 1e-4 * max(float(rows.std(0).max(initial=0.0)), 1e-12)
    return torch.from_numpy(rows[:, varies])


class Neighbours:
    """This holds each item's nearest others: index [items, count], and weights that sum to 1.

    An item whose row is 0 has no features: it is nobody's neighbour, and its own weights are 0.
    """

    def __init__(self, matrix: np.ndarray, count: int, temperature: float) -> None:
        norm = np.linalg.norm(matrix, axis=1, keepdims=True)
        unit = torch.from_numpy((matrix / np.where(norm > 1e-9, norm, 1.0)).astype(np.float32))
        items = len(unit)
        absent = torch.from_numpy(norm[:, 0] <= 1e-9)
        index, weight = [], []
        for start in range(0, items, 1024):
            block = unit[start : start + 1024] @ unit.T
            # An item is not its own neighbour.
            block[torch.arange(len(block)), start + torch.arange(len(block))] = -torch.inf
            if bool(absent.any()):
                block[:, absent] = -torch.inf
            best, where = block.topk(min(count, items - 1), dim=1)
            index.append(where)
            weight.append(torch.softmax(best / temperature, dim=1))
        self.index, self.weight = torch.cat(index), torch.cat(weight)
        if bool(absent.any()):
            self.weight[absent] = 0
            self.weight = torch.nan_to_num(self.weight)  # where no other item has features

    def mean(self, table: Tensor) -> Tensor:
        """Return the weighted mean of each item's neighbours' rows: table [items, width] -> the
        same."""
        return torch.einsum("ij,ijw->iw", self.weight, table[self.index])


def alike(rows: np.ndarray, block: int = 4096) -> np.ndarray:
    """Return how many rows there are of each different one, in no order.

    rows [n, F]. Two are alike that differ by less than a hundred-thousandth of the largest value:
    an encoder's rows of equal contents differ in the last bits with the batch that they were in.
    Rows are compared with their neighbours along one random direction, so that memory and time
    grow with n alone.
    """
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    direction = np.random.default_rng(0).normal(size=rows.shape[1])
    order = np.argsort(rows @ direction, kind="stable")
    near = 1e-5 * float(np.abs(rows).max())
    new = np.ones(len(rows), dtype=bool)
    for start in range(1, len(rows), block):
        here = order[start:start + block]
        before = order[start - 1:start - 1 + len(here)]
        new[start:start + block] = np.abs(rows[here] - rows[before]).max(axis=1) > near
    return np.bincount(np.cumsum(new) - 1)
