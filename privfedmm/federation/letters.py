"""The letters between server and nodes: for every kind of exchange its fields, types and bounds.

Bodies of the clients' own messages are in `privacy.aggregation.encrypted.bodies` and, as records
of fixed length, in `privacy.aggregation.masked.codec`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from torch import Tensor

from privacy import Dense, Slotted, Touched
from privacy.aggregation.forms import Form, Items, Map, Maybe, Of, Raw, Row, Text, Whole
from privacy.aggregation.messages import Message
from privacy.errors import ProtocolError
from privfedmm.federation.transport import PREPARE, RANKS, SHARE, SIGN, UNMASK, UPLOAD

Fields = Mapping[str, Form]
REASON = 500  # letters of a sentence for the log


@dataclass(frozen=True)
class Numbers:
    """Accepts an array of one dimension and one of these types."""

    dtypes: tuple[str, ...]

    def check(self, value: object, name: str) -> None:
        """Check type and shape of the value. Raises ProtocolError where they do not fit."""
        if not isinstance(value, np.ndarray) or value.ndim != 1 or (
                value.dtype.name not in self.dtypes):
            raise ProtocolError(f"{name} of a message must be numbers, {' or '.join(self.dtypes)}")


@dataclass(frozen=True)
class Real:
    """Accepts a number with or without a fraction; a truth value is none."""

    def check(self, value: object, name: str) -> None:
        """Check that the value is such a number. Raises ProtocolError where it is not."""
        if type(value) not in (int, float):
            raise ProtocolError(f"{name} of a message must be a number")


@dataclass(frozen=True)
class OneOf:
    """Accepts a value of one of these types."""

    kinds: tuple[type, ...]

    def check(self, value: object, name: str) -> None:
        """Check the type alone. Raises ProtocolError where it is none of these."""
        if type(value) not in self.kinds:
            raise ProtocolError(
                f"{name} of a message must be {' or '.join(k.__name__ for k in self.kinds)}")


@dataclass(frozen=True)
class Anything:
    """Accepts what the receiver looks into by itself: a plan or a state of the run's own method."""

    def check(self, value: object, name: str) -> None:
        """Take every value that could be decoded."""


_NOTE, _NOTES = Of(Message), Items(Of(Message))
NUMBER = Row((Whole(), Whole()))  # round and attempt
_NEXT = Maybe(NUMBER)
_IDS = Numbers(("int64",))
_STAYED: Fields = {"stayed_out": Items(Text(REASON))}
_FIGURES = Maybe(Map(Text(16), Real(), 16))
PROOF = Raw(64, 64)
_PARTS = Map(Text(64), Raw(32, 32), 2**16)  # of the beacon, by the nodes' names

REQUESTS: dict[str, list[Fields]] = {
    PREPARE: [{"version": Text(64), "settings": Text(64), "run": Raw(1, 64), "next": _NEXT,
               "challenge": Raw(32, 32)}],
    SHARE: [{"adverts": _NOTES, "context": Maybe(_NOTE), "parts": _PARTS}],
    UPLOAD: [{"number": NUMBER, "plan": Anything(), "sealed": _NOTES, "next": _NEXT}],
    SIGN: [{"survivors": _NOTES, "adverts": _NOTES}, {"terms": _NOTE, "total": _NOTE}],
    UNMASK: [{"signatures": _NOTES}],
    RANKS: [{"state": Anything()}],
}
# Of a node; of the key holder's, where there are two.
ANSWERS: dict[str, list[Fields]] = {
    PREPARE: [{"ids": _IDS, "adverts": _NOTES, "parts": _PARTS,
               "proofs": Items(PROOF), **_STAYED},
              {"context": _NOTE, "proofs": Items(PROOF, 1)}],
    SHARE: [{"shares": _NOTES, **_STAYED}],
    UPLOAD: [{"masked": _NOTES, "encrypted": _NOTES,
              "plain": Items(Row((_IDS, Map(Text(), OneOf((Dense, Touched, Slotted)))))),
              "adverts": _NOTES, "figures": _FIGURES, **_STAYED}],
    SIGN: [{"signatures": _NOTES, "shares": _NOTES, **_STAYED}, {"result": _NOTE}],
    UNMASK: [{"revealed": _NOTES, **_STAYED}],
    RANKS: [{"ranks": Map(Text(64), Numbers(("int32", "int64")), 16), "group": Maybe(_IDS),
             **_STAYED}],
}


def formed(values: object, forms: list[Fields], what: str) -> dict[str, Any]:
    """Return the values, which have one of the forms. Raises ProtocolError."""
    if type(values) is dict:
        for form in forms:
            if values.keys() == form.keys():
                for name, one in form.items():
                    one.check(values[name], name)
                return values
    raise ProtocolError(f"{what} is not of the form that this message has")


Fits = Callable[[object], bool]


@cache
def typed(kind: type) -> dict[str, Fits]:
    """Return, for a dataclass, what tells of each field whether a value is of its declared type."""
    hints = get_type_hints(kind)
    return {field.name: _fits(hints[field.name]) for field in fields(kind)}


def _fits(hint: Any) -> Fits:
    """What tells whether a value, all that is in it included, is of a declared type."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return lambda value: True
    if hint in (bool, int, str, bytes, NoneType):
        return lambda value: type(value) is hint
    if hint is float:
        return lambda value: type(value) in (int, float)
    if hint in (Tensor, np.ndarray) or (isinstance(hint, type) and is_dataclass(hint)):
        return lambda value: isinstance(value, hint)
    if origin is np.ndarray:
        return lambda value: isinstance(value, np.ndarray)
    if origin in (Union, UnionType):
        choices = [_fits(one) for one in inner]
        return lambda value: any(fits(value) for fits in choices)
    if origin is Literal:
        return lambda value: type(value) in (str, int, bool) and value in inner
    if origin is tuple and inner[-1:] != (...,):
        each = [_fits(one) for one in inner]
        return lambda value: type(value) is tuple and len(value) == len(each) and all(
            fits(item) for fits, item in zip(each, value, strict=True))
    if origin in (tuple, list):
        of = _fits(inner[0])
        return lambda value: type(value) in (tuple, list) and isinstance(value, origin) and all(
            of(item) for item in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, of = map(_fits, inner)
        return lambda value: type(value) is dict and all(
            key(k) and of(v) for k, v in value.items())
    raise TypeError(f"a field of type {hint} does not travel")


def alike(value: object, model: object) -> bool:
    """Return whether a value has the shapes and types of a model of it; None in a model is any."""
    if model is None:
        return True
    if isinstance(model, Tensor | np.ndarray):
        return isinstance(value, type(model)) and (
            value.dtype == model.dtype and value.shape == model.shape)
    if type(value) is not type(model):
        return False
    if isinstance(model, dict):
        assert isinstance(value, dict)
        return value.keys() == model.keys() and all(alike(value[k], model[k]) for k in model)
    if is_dataclass(model):
        return all(alike(getattr(value, f.name), getattr(model, f.name)) for f in fields(model))
    return True
