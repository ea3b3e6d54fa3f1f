"""Every public definition of the two libraries says in a sentence what it is or does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import docstrings, structure

LIBRARIES = {name: file for name, file in structure.files(Path(__file__).parents[1]).items()
             if name.partition(".")[0] in ("privacy", "privfedmm")}
DEFINITIONS = docstrings.Definitions(LIBRARIES)


def _read(folder: Path, text: str) -> docstrings.Definitions:
    """The definitions of a file of a made-up checkout."""
    path = folder / "privacy" / "made.py"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return docstrings.Definitions(structure.files(folder))


def test_every_public_definition_has_a_docstring() -> None:
    assert len(DEFINITIONS.all) > 1_500
    assert not set(DEFINITIONS.missing())


def test_first_sentences_are_sentences() -> None:
    faults = {str(one): why for one in DEFINITIONS.all
              if one.text and (why := docstrings.fault(one))}
    assert not faults


def test_what_has_no_docstring_is_found(tmp_path: Path) -> None:
    found = _read(tmp_path, """
from typing import Protocol
class Shape(Protocol):
    '''Describes a shape.'''
    size: int
    def area(self, unit):
        '''Return the area.'''
    def edge(self): ...
class Square:
    '''Holds a square.'''
    def __init__(self): self.size = 1
    def area(self, unit): ...
    def edge(self): ...
    def _own(self): ...
class Circle:
    '''Holds what is no Shape: it has no edge.'''
    size = 1
    def area(self, unit): ...
class Other:
    '''Holds a Shape whose area is asked for by another word.'''
    size = 1
    def area(self, in_): ...
    def edge(self):
        '''Return the edge.'''
class Base:
    '''Holds what others derive from.'''
    def told(self):
        '''Return a word.'''
    def untold(self): ...
class Derived(Base):
    def told(self): ...
    def untold(self): ...
def alone(): ...
def _private(): ...
""")
    assert [name.removeprefix("privacy.made.") for name in found.missing()] == [
        "Shape.edge", "Square.edge", "Circle.area", "Other.area", "Base.untold", "Derived",
        "Derived.untold", "alone"]


@pytest.mark.parametrize(("kind", "text"), [
    ("def", "The masked vector in a message."),
    ("def", "Raises ProtocolError."),
    ("def", "Name in configs and records."),
    ("def", "Round 2, for a block of clients."),
    ("def", "return the sum."),
    ("def", "Return the sum"),
    ("def", "(client, signature) as records of 72 bytes."),
    ("class", "A message that is refused by its receiver."),
    ("class", "What a client has done last."),
    ("class", "Training on the device."),
    ("class", "Users in groups."),
])
def test_fragments_are_found(tmp_path: Path, kind: str, text: str) -> None:
    head = "def made():" if kind == "def" else "class Made:"
    (one,) = _read(tmp_path, f"{head}\n    '''{text}'''\n").all
    assert docstrings.fault(one)


@pytest.mark.parametrize(("kind", "text"), [
    ("def", "Return the sum [dims].\n\n    Raises RoundAborted."),
    ("def", "Name what a client has done last."),
    ("def", "Round the joint vector."),
    ("class", "Holds a message."),
    ("class", "Carries requests to nodes."),
    ("class", "Passes every block through the tap."),
    ("class", "This section sets how a device trains."),
    ("class", "A registry holds the entries of one kind by name."),
])
def test_sentences_are_accepted(tmp_path: Path, kind: str, text: str) -> None:
    head = "def made():" if kind == "def" else "class Made:"
    (one,) = _read(tmp_path, f"{head}\n    '''{text}'''\n").all
    assert docstrings.fault(one) is None
