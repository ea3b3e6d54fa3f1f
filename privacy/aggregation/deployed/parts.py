"""What a server looks for in uploads that it reads, before it adds any of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from privacy.aggregator import Task
from privacy.uploads import Dense, Part, Slotted, Touched, UploadError, Uploads


def check_parts(ids: np.ndarray, uploads: Uploads, task: Task) -> None:
    """Check that a block is of honest form: uploads of clients ids [block] of a task's releases.

    A norm of what is held is the norm of the vector that it stands for only where no row is named
    twice, padding is 0, and rows and slots are in their table; so a norm means nothing before this.
    Raises UploadError for anything else.
    """
    shapes = {release.name: release.shape for release in task.releases}
    if uploads.keys() != shapes.keys():
        raise UploadError("a block must hold exactly the releases of the round")
    for name, part in uploads.items():
        inner = part.part if type(part) is Slotted else part
        if type(inner) is Touched:
            _touched(name, inner)
        elif type(inner) is not Dense or inner.values.dim() < 1:
            raise UploadError(f"release {name!r} comes in a form that nodes do not send")
        if type(part) is Slotted:
            _within(name, part.slot, part.slots, (len(ids),))
        if part.shape() != shapes[name] or part.clients() != len(ids):
            raise UploadError(f"release {name!r} has another shape than declared")
        _values(name, inner, task)


def _touched(name: str, part: Touched) -> None:
    if part.values.dim() != 3 or part.mask.shape != part.index.shape:
        raise UploadError(f"release {name!r} has rows without their numbers")
    _within(name, part.index, part.num_rows, tuple(part.values.shape[:2]))
    if bool(((part.mask != 0) & (part.mask != 1)).any()) or (
            bool(part.values[part.mask == 0].any())):
        raise UploadError(f"release {name!r} holds values on its padding")
    part.check_rows()


def _within(name: str, places: Tensor, count: int, shape: tuple[int, ...]) -> None:
    if places.dtype != torch.int64 or tuple(places.shape) != shape or (
            bool(((places < 0) | (places >= count)).any())):
        raise UploadError(f"release {name!r} names rows or slots that its table has not")


def _values(name: str, part: Part, task: Task) -> None:
    held = part.held()
    allowed = (torch.int32, torch.int64) if task.integer else (torch.float32,)
    if held.dtype not in allowed:
        raise UploadError(f"release {name!r} holds {held.dtype}, not {allowed[0]}")
    if not part.finite():
        raise UploadError(f"release {name!r} holds NaN or infinity")
    # Both ends are compared: the magnitude of the lowest int64 is no int64.
    if task.integer and held.numel() and (
            int(held.min()) < -task.limit or int(held.max()) > task.limit):
        raise UploadError(f"release {name!r} holds integers beyond {task.limit:g}")
