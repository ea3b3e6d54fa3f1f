"""Known data sets by name: everyone can have them, without a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from privfedmm.base.registry import Registry
from privfedmm.data.encoded import Encoding
from privfedmm.data.raw import AS_IT_IS, Reading
from privfedmm.data.types import Dataset, Unit

_SIZED = ":N"


@dataclass(frozen=True)
class Request:
    """A request says what is asked of a known data set.

    size: the digits after the colon of a name like `planted:300`, or nothing. k_core, seed,
    max_users: as for `load`; a source that cannot follow one raises `DataError`. cache: the folder
    of everything fetched. encoding: how texts or pictures are encoded, for a source that brings
    them. unit: what a budget protects; items must then be those of a public catalogue, whoever
    has them, which a source says in its data set. None without a budget. reading: which rows
    count, for a source with ratings or rows that stand twice.
    """

    size: str
    k_core: int
    seed: int
    max_users: int
    cache: Path
    encoding: Encoding
    unit: Unit | None = None
    reading: Reading = AS_IT_IS


@dataclass(frozen=True)
class Fetch:
    """This brings a data set that is somebody else's into the cache.

    into: cache folder -> folder of the data, which it fetches where it is not there yet; it raises
    `DataError` with a sentence. terms: the terms of its licence, for whoever fetches it. study: the
    command that makes a published table of it; nothing where there is none.
    """

    into: Callable[[Path], Path]
    terms: str
    study: str = ""


@dataclass(frozen=True)
class Source:
    """A source is a data set that everyone can have by its name.

    name: the name, or `NAME:N` for one that is drawn in any size N. summary: what it is, for lists.
    load: returns the data set of a request; it raises `DataError` with a sentence. fetch: how
    `privfedmm data get` brings it; None where there is nothing to fetch. pictures: returns the
    pictures of its items in a size, in item order; None where it has none. invented: whether its
    users are made up, so that showing what they have betrays nobody. reference: the paper that
    describes it.
    """

    name: str
    summary: str
    load: Callable[[Request], Dataset]
    fetch: Fetch | None = None
    pictures: Callable[[str], list[Image.Image]] | None = None
    invented: bool = False
    reference: str = ""

    def words(self) -> list[str]:
        """Return what it can, for a table: whether it is generated here or fetched, in which
        sizes, and whether it has pictures."""
        return ["fetched" if self.fetch else "without the network",
                *(["any number of users"] if self.name.endswith(_SIZED) else []),
                *(["pictures"] if self.pictures else [])]

    def size_in(self, text: str) -> str | None:
        """Return the digits of N in a text of this name, if it has any; None for another name."""
        if not self.name.endswith(_SIZED):
            return "" if text == self.name else None
        name, colon, size = text.partition(":")
        ours = bool(colon) and name == self.name.removesuffix(_SIZED)
        return size if ours and (not size or size.isdecimal()) else None


SOURCES: Registry[Source] = Registry("sources", "known data set", {
    "planted": "privfedmm.data.planted:PLANTED",
    "cinema": "privfedmm.data.cinema:CINEMA",
    "planted:N": "privfedmm.data.planted:PLANTED_SIZED",
    "ml-100k": "privfedmm.data.movielens:ML_100K",
})


def find_source(text: str) -> tuple[Source, str] | None:
    """Return the source that a text names and the digits of its size; None if it names none."""
    for source in SOURCES:
        size = source.size_in(text)
        if size is not None:
            return source, size
    return None


def available() -> dict[str, str]:
    """Return the known names and what they are."""
    return {source.name: source.summary for source in SOURCES}


def is_named(source: str) -> bool:
    """Return whether a source is a known name, whose data everyone can have, and no folder."""
    return find_source(source) is not None
