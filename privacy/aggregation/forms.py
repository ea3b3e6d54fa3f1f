"""What a message may hold: forms of values, and a look at its bytes before any value is made.

A sender chooses its bytes. So every body is walked once (`scan`), which makes nothing and refuses
more values, deeper nesting or a longer claim than can be there; only then it is decoded, and every
value, nested ones too, is held against its form. What does not fit raises ProtocolError and nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from privacy.errors import ProtocolError

WIDEST = 2**63 - 1
ELEMENTS = 2**22  # values of one body, where the receiver knows no lower number
DEPTH = 48  # lists and maps within one another; what travels has at most a third of it
# Tags of MessagePack from 0xc0 on: bytes of the value itself; of the length before a text; of the
# number before a list or a map. What is in none of them (extensions, 0xc1) does not travel.
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8,
          0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_TEXTS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_LISTS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def scan(body: bytes, elements: int = ELEMENTS, depth: int = DEPTH) -> None:
    """Walk a MessagePack body without making a value of it.

    elements: most values in it, lists and maps counted; depth: of lists and maps. Raises
    ProtocolError for more, for a list that claims more values than bytes are left, and for bytes
    that end early or late.
    """
    at, size, seen, due = 0, len(body), 0, [1]
    while due:
        if not due[-1]:
            due.pop()
            continue
        due[-1] -= 1
        seen += 1
        if seen > elements:
            raise ProtocolError(f"a message cannot be read (more than {elements} values)")
        if at >= size:
            raise ProtocolError("a message cannot be read (it is cut short)")
        tag = body[at]
        at += 1
        inner = 0
        if tag < 0x80 or tag >= 0xE0:
            continue
        if tag < 0xA0:
            inner = (tag & 15) * (2 if tag < 0x90 else 1)
        elif tag < 0xC0:
            at += tag & 31
        elif tag in _FIXED:
            at += _FIXED[tag]
        elif tag in _TEXTS:
            width = _TEXTS[tag]
            at += width + int.from_bytes(body[at : at + width], "big")
        elif tag in _LISTS:
            width, values = _LISTS[tag]
            inner = values * int.from_bytes(body[at : at + width], "big")
            at += width
        else:
            raise ProtocolError(f"a message cannot be read (tag {tag:#x} does not travel)")
        if at > size or inner > size - at:
            raise ProtocolError("a message cannot be read (it is cut short)")
        if inner > elements - seen:
            raise ProtocolError(f"a message cannot be read (more than {elements} values)")
        if inner:
            if len(due) > depth:
                raise ProtocolError(f"a message cannot be read (nested more than {depth} deep)")
            due.append(inner)
    if at != size:
        raise ProtocolError("a message cannot be read (it goes on after its end)")


class Form(Protocol):
    """Say of a value whether a message may hold it."""

    def check(self, value: object, name: str) -> None:
        """Check a value. Raises ProtocolError, naming the field, for one that does not fit."""
        ...


@dataclass(frozen=True)
class Whole:
    """Accept a whole number from `low` to `high`; a truth value is none."""

    low: int = 0
    high: int = WIDEST

    def check(self, value: object, name: str) -> None:
        """Check that the value is such a number. Raises ProtocolError where it is not."""
        if type(value) is not int or not self.low <= value <= self.high:
            raise ProtocolError(
                f"{name} of a message must be a whole number from {self.low} to {self.high}")


@dataclass(frozen=True)
class Text:
    """Accept text of at most `most` characters."""

    most: int = WIDEST

    def check(self, value: object, name: str) -> None:
        """Check that the value is such text. Raises ProtocolError where it is not."""
        if type(value) is not str or len(value) > self.most:
            raise ProtocolError(f"{name} of a message must be text of at most {self.most} letters")


@dataclass(frozen=True)
class Raw:
    """Accept bytes, `least` to `most` of them."""

    least: int = 0
    most: int = WIDEST

    def check(self, value: object, name: str) -> None:
        """Check type and length. Raises ProtocolError where they do not fit."""
        if type(value) is not bytes or not self.least <= len(value) <= self.most:
            raise ProtocolError(
                f"{name} of a message must be {self.least} to {self.most} bytes")


@dataclass(frozen=True)
class Items:
    """Accept a list of at most `most` values of one form."""

    of: Form
    most: int = ELEMENTS

    def check(self, value: object, name: str) -> None:
        """Check the list, then each of its values. Raises ProtocolError where one does not fit."""
        if type(value) is not list or len(value) > self.most:
            raise ProtocolError(f"{name} of a message must be a list of at most {self.most}")
        for item in value:
            self.of.check(item, name)


@dataclass(frozen=True)
class Row:
    """Accept a tuple of values, each of its own form."""

    of: tuple[Form, ...]

    def check(self, value: object, name: str) -> None:
        """Check the tuple, then each of its values. Raises ProtocolError where one does not fit."""
        if type(value) is not tuple or len(value) != len(self.of):
            raise ProtocolError(f"{name} of a message must be {len(self.of)} values")
        for form, item in zip(self.of, value, strict=True):
            form.check(item, name)


@dataclass(frozen=True)
class Map:
    """Accept a map of at most `most` keys of one form to values of another."""

    key: Form
    of: Form
    most: int = ELEMENTS

    def check(self, value: object, name: str) -> None:
        """Check the map, then its keys and values. Raises ProtocolError where one does not fit."""
        if type(value) is not dict or len(value) > self.most:
            raise ProtocolError(f"{name} of a message must be a map of at most {self.most}")
        for key, item in value.items():
            self.key.check(key, name)
            self.of.check(item, name)


@dataclass(frozen=True)
class Record:
    """Accept a map that has exactly these fields, each of its form."""

    fields: Mapping[str, Form]

    def check(self, value: object, name: str) -> None:
        """Check the names of the fields, then their values.

        Raises ProtocolError where one does not fit.
        """
        if type(value) is not dict or value.keys() != self.fields.keys():
            raise ProtocolError(
                f"{name} must hold {', '.join(sorted(self.fields))} and nothing else")
        for field, form in self.fields.items():
            form.check(value[field], field)


@dataclass(frozen=True)
class Maybe:
    """Accept None, or a value of a form."""

    of: Form

    def check(self, value: object, name: str) -> None:
        """Check the value, unless it is None. Raises ProtocolError where it does not fit."""
        if value is not None:
            self.of.check(value, name)


@dataclass(frozen=True)
class Of:
    """Accept a value of exactly one type, whatever is in it: for what somebody else looks into."""

    kind: type

    def check(self, value: object, name: str) -> None:
        """Check the type alone. Raises ProtocolError where it is another."""
        if type(value) is not self.kind:
            raise ProtocolError(f"{name} of a message must be {self.kind.__name__}")
