"""Nested tensors and plain values as one .npz file, which numpy reads without running any code.

A file that is given away is read by people who did not write it. `torch.save` writes a pickle;
this writes arrays by their path, and one text of JSON for what is no array.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from privfedmm.base.files import whole
from privfedmm.base.interrupts import held

_PLAIN = "plain.json"
_BETWEEN, _NUMBER = "/", "#"


def save_arrays(path: Path, values: Mapping[str, Any]) -> None:
    """Write nested dictionaries of tensors, arrays and plain values; whole or not there.

    Names in them are text or numbers. The same values give the same bytes. Raises ValueError for a
    name that has no place in a file, and TypeError for a value that is none of these.
    """
    arrays: dict[str, np.ndarray] = {}
    plain: dict[str, Any] = {}
    _flatten(values, "", arrays, plain)
    text = json.dumps(plain, sort_keys=True)
    with held(), whole(path) as out:
        np.savez(out, **{_PLAIN: np.array(text)}, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, Any]:
    """Read what `save_arrays` wrote, with tensors in the place of arrays.

    Raises OSError where there is no file to read, and ValueError where it is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            flat: dict[str, Any] = {
                name: torch.from_numpy(found[name]) for name in found.files if name != _PLAIN}
            flat |= json.loads(str(found[_PLAIN]))
    except (ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    out: dict[Any, Any] = {}
    for path_, value in flat.items():
        *parents, leaf = map(_name, path_.split(_BETWEEN))
        place = out
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return out


def _name(text: str) -> str | int:
    return int(text.removeprefix(_NUMBER)) if text.startswith(_NUMBER) else text


def _flatten(
    values: Mapping[Any, Any], prefix: str, arrays: dict[str, np.ndarray], plain: dict[str, Any]
) -> None:
    for name, value in values.items():
        # An optimiser numbers its parameters.
        text = f"{_NUMBER}{name}" if isinstance(name, int) else name
        if _BETWEEN in text or (text == name and text.startswith(_NUMBER)):
            raise ValueError(f"{name!r} may not hold a {_BETWEEN} nor begin with {_NUMBER}, which "
                             "have a meaning in the names of a file")
        path = prefix + text
        if isinstance(value, Mapping) and value:
            _flatten(value, path + _BETWEEN, arrays, plain)
        elif isinstance(value, torch.Tensor):
            arrays[path] = value.detach().cpu().numpy()
        elif isinstance(value, np.ndarray):
            arrays[path] = value
        else:
            plain[path] = value
