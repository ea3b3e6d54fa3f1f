"""The text and the picture of each item of a folder, ready for an encoder."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

import pandas as pd
from PIL import Image

from privfedmm.data.item_columns import DESCRIPTIONS, KINDS_IN_TEXT, TITLES, YEARS_IN_TEXT
from privfedmm.data.types import DataError
from privfedmm.encoders import KINDS, Content, ContentError, content_key, open_picture

_MOST_BYTES = 64 * 2**20
Read = Callable[[], bytes]


def text_columns(table: pd.DataFrame, chosen: tuple[str, ...]) -> list[str]:
    """Return the columns of the item table that make an item's text; none where it has none.

    Raises DataError for a chosen column that is not there.
    """
    absent = [name for name in chosen if name not in table.columns]
    if absent:
        raise DataError(f"encoders.text_columns: items.csv has no column {', '.join(absent)}; its "
                        f"columns are {', '.join(table.columns)}")
    known = (*TITLES, *YEARS_IN_TEXT, *KINDS_IN_TEXT, *DESCRIPTIONS)
    found = list(chosen) or [name for name in known if name in table.columns]
    # A year alone is no text.
    return [] if found == ["year"] and not chosen else found


def item_texts(table: pd.DataFrame, columns: list[str], chosen: bool) -> list[str]:
    """Make one text an item: `title (year). genres. description`, with the first description it
    has; of chosen columns all count, in their order. A text is empty where all of them are.
    """
    return [_text(row, chosen) for row in table[columns].to_dict("records")]


def _text(row: dict[str, str], chosen: bool) -> str:
    values = {name: " ".join(value.split()) for name, value in row.items()}
    if chosen:
        return ". ".join(value for value in values.values() if value)
    described = next((values[n] for n in DESCRIPTIONS if values.get(n)), "")
    titles = [values[n] for n in TITLES if values.get(n)][:1]
    years = [f"({values[n]})" for n in YEARS_IN_TEXT if values.get(n)] if titles else []
    kinds = [values[n] for n in KINDS_IN_TEXT if values.get(n)]
    return ". ".join(part for part in (" ".join(titles + years), *kinds, described) if part)


def text_contents(
    table: pd.DataFrame, columns: list[str], chosen: bool, source: str = "items.csv"
) -> list[Content]:
    """Make one content an item; an empty text, or one that is not UTF-8, is a missing one.

    source: what sentences call the table.
    """
    out = []
    for item, text in zip(table.index, item_texts(table, columns, chosen), strict=True):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            out.append(Content(None, 0, str, f"item {item}: its text in {source} is not UTF-8; "
                                             "save the file as UTF-8"))
        elif not text:
            out.append(Content(None, 0, str, f"item {item} has no text: {', '.join(columns)} "
                                             f"of {source} are empty"))
        else:
            out.append(Content(content_key(text.encode()), len(text), partial(str, text),
                               name=f"item {item}: its text in {source}"))
    return out


@contextmanager
def picture_contents(
    table: pd.DataFrame, place: Path, max_pixels: int
) -> Iterator[list[Content]]:
    """Yield one content an item, from `images/` or `images.zip`: the file named by the item's id.

    Raises DataError for a zip that cannot be read or two pictures of one item.
    """
    if place.is_dir():
        files = _by_item((p.name, p.stat().st_size, p.read_bytes)
                         for p in sorted(place.iterdir()) if p.is_file())
        yield [_picture(str(item), files, place.name, max_pixels) for item in table.index]
        return
    try:
        archive = zipfile.ZipFile(place)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{place.name} is not a zip file ({error}); pack it again") from error
    with archive:
        files = _by_item((info.filename, info.file_size, _entry(archive, info))
                         for info in archive.infolist() if not info.is_dir())
        yield [_picture(str(item), files, place.name, max_pixels) for item in table.index]


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Read:
    return lambda: archive.read(info)


def _by_item(files: Iterator[tuple[str, int, Read]]) -> dict[str, tuple[str, int, Read]]:
    out: dict[str, tuple[str, int, Read]] = {}
    for name, size, read in files:
        path = PurePosixPath(name)
        if path.name.startswith((".", "__")) or "__MACOSX" in path.parts:
            continue
        if path.stem in out and path.suffix.lower() in KINDS:
            other = out[path.stem][0]
            if PurePosixPath(other).suffix.lower() in KINDS:
                raise DataError(f"item {path.stem} has two pictures, {other} and {name}; keep one")
        elif path.stem in out:
            continue
        out[path.stem] = (name, size, read)
    return out


def _picture(
    item: str, files: dict[str, tuple[str, int, Read]], place: str, max_pixels: int
) -> Content:
    def missing(why: str) -> Content:
        return Content(None, 0, Image.Image, f"item {item}{why}")

    if item not in files:
        return missing(f" has no picture: {place} holds no {item}.jpg (or "
                       f"{', '.join(k[1:] for k in list(KINDS)[1:])})")
    name, size, read = files[item]
    if PurePosixPath(name).suffix.lower() not in KINDS:
        return missing(f": {name} in {place} has an ending that is no picture's; "
                       f"known are {', '.join(k[1:] for k in KINDS)}")
    if size > _MOST_BYTES:
        return missing(f": {name} takes {size / 2**20:.0f} MiB, more than "
                       f"{_MOST_BYTES // 2**20}; make it smaller")
    try:
        key = content_key(read())
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        return missing(f": {name} in {place} cannot be read ({error}); replace it")
    # Read again when it is encoded: all pictures together may not fit in memory.
    return Content(key, 0, lambda: open_picture(_again(read, name, item), name, item, max_pixels),
                   name=f"item {item}: its picture {name} in {place}")


def _again(read: Read, name: str, item: str) -> bytes:
    try:
        return read()
    except (OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise ContentError(f"item {item}: {name} cannot be read ({error}); replace it") from error
