"""Values as bytes and back: plans, uploads, messages and saved states. No code travels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import msgpack
import numpy as np
import torch
from torch import Tensor

from privacy.aggregation.forms import ELEMENTS, scan
from privacy.errors import ProtocolError
from privfedmm.federation.letters import typed

_DTYPES = ("float32", "float64", "int32", "int64", "uint8", "bool")
_DIMENSIONS = 8


def encode(value: object) -> bytes:
    """Encode a value as bytes.

    The value is made of None, numbers, strings, bytes, tensors, arrays, and lists, tuples, maps and
    dataclasses of them. Raises TypeError for anything else.
    """
    packed: bytes = msgpack.packb(_tagged(value), use_bin_type=True)
    return packed


def decode(body: bytes, kinds: Sequence[type], elements: int = ELEMENTS) -> Any:
    """Return the value that `encode` made the bytes from.

    kinds: the dataclasses that may occur, whose fields must be of their declared types. elements:
    most values that the body may hold, names and tags counted. Raises ProtocolError, and nothing
    else, for bytes that cannot be read; before any value is made where there are too many.
    """
    scan(body, elements)
    try:
        tree = msgpack.unpackb(body, raw=False, strict_map_key=False)
        return _value(tree, {kind.__name__: kind for kind in kinds})
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a message cannot be read ({error})") from error


def fields_of(body: bytes, kinds: Sequence[type], wanted: Mapping[str, type]) -> dict[str, Any]:
    """Decode a map that has exactly the fields `wanted`, of their types.

    Raises ProtocolError where it has others, or cannot be read.
    """
    values = decode(body, kinds)
    if not isinstance(values, dict) or values.keys() != wanted.keys():
        raise ProtocolError(f"a message must hold {', '.join(sorted(wanted))} and nothing else")
    for name, kind in wanted.items():
        if kind is not object and not isinstance(values[name], kind):
            raise ProtocolError(f"{name} of a message must be {kind.__name__}")
    return values


def _tagged(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, Tensor):
        return ["tensor", *_numbers(value.detach().contiguous().numpy())]
    if isinstance(value, np.ndarray):
        return ["array", *_numbers(np.ascontiguousarray(value))]
    if isinstance(value, Mapping):
        return ["map", [[_tagged(k), _tagged(v)] for k, v in value.items()]]
    if isinstance(value, tuple):
        return ["tuple", *map(_tagged, value)]
    if isinstance(value, list):
        return ["list", *map(_tagged, value)]
    if is_dataclass(value) and not isinstance(value, type):
        content = {f.name: getattr(value, f.name) for f in fields(value)}
        return ["data", type(value).__name__, _tagged(content)]
    raise TypeError(f"a {type(value).__name__} does not travel")


def _numbers(array: np.ndarray) -> tuple[str, list[int], bytes]:
    if array.dtype.name not in _DTYPES:
        raise TypeError(f"an array of {array.dtype} does not travel")
    return array.dtype.name, list(array.shape), array.tobytes()


def _value(tree: Any, kinds: Mapping[str, type]) -> Any:
    if not isinstance(tree, list):
        if isinstance(tree, dict):
            raise ValueError("a map without its tag")
        return tree
    tag, *rest = tree or [None]
    if not isinstance(tag, str):
        raise ValueError("a list without its tag")
    if tag in ("tensor", "array"):
        array = _array(*rest)
        return torch.from_numpy(array) if tag == "tensor" else array
    if tag == "map":
        (pairs,) = rest
        if not isinstance(pairs, list):
            raise ValueError("a map is a list of pairs")
        out = {_value(k, kinds): _value(v, kinds) for k, v in pairs}
        if len(out) != len(pairs):
            raise ValueError("a map names a key twice")
        return out
    if tag in ("tuple", "list"):
        items = [_value(v, kinds) for v in rest]
        return tuple(items) if tag == "tuple" else items
    if tag == "data":
        name, content = rest
        kind, values = kinds[name], _value(content, kinds)
        if not isinstance(values, dict) or values.keys() != {f.name for f in fields(kind)}:
            raise ValueError(f"a {name} has other fields")
        for field, fits in typed(kind).items():
            if not fits(values[field]):
                raise ValueError(f"{field} of a {name} is of another type than declared")
        return kind(**values)
    raise ValueError("a value has a tag that no value has")


def _array(name: Any, shape: Any, content: Any) -> np.ndarray:
    if name not in _DTYPES or type(content) is not bytes:
        raise ValueError("an array is of another type than those that travel")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("the shape of an array is a list of lengths")
    if math.prod(shape) * np.dtype(name).itemsize != len(content) or len(shape) > _DIMENSIONS:
        raise ValueError("an array has another length than its shape says")
    if name == "bool" and content.translate(None, b"\x00\x01"):
        raise ValueError("a truth value is neither 0 nor 1")
    return np.frombuffer(content, dtype=name).reshape(shape).copy()
