"""Sections that are written as Markdown, as parts of a page: one wording for both.

Only what these sections are made of is read: headings, tables, lists and paragraphs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from experiments.report.blocks import Anchors, Cell, Part, Table, Text, leading, plain


def parts_of(
    markdown: str, caption: str, anchors: Anchors, captions: Sequence[str] = ()
) -> list[Part]:
    """Return the parts of a section without its heading.

    caption: of a table, with what its first column holds; captions: of the first tables, where
    there is more to say.
    """
    out: list[Part] = []
    said = list(captions)
    for block in _blocks(markdown):
        if block[0].startswith("|"):
            table = _table(block, caption, said.pop(0) if said else "", anchors)
            if table is not None:
                out.append(table)
        elif block[0].startswith("- "):
            out.append(Text(tuple(_items(block)), listed=True))
        elif not block[0].startswith("#"):
            out.append(Text((_words(" ".join(block)),)))
    return out


def heading_of(markdown: str) -> str:
    """Return the first heading of a section; nothing where it has none."""
    found = re.search(r"^#+ (.+)$", markdown, re.MULTILINE)
    return _words(found[1]) if found else ""


def _blocks(markdown: str) -> Iterator[list[str]]:
    """Lines that belong together: of one kind, with no empty line between them."""
    block: list[str] = []
    for line in [*markdown.splitlines(), ""]:
        kind = _kind(line)
        # A line that goes on from a list's item belongs to the list.
        if block and (not line.strip() or (kind != _kind(block[0]) and not (
                kind == "text" and _kind(block[0]) == "list" and line.startswith(" ")))):
            yield block
            block = []
        if line.strip():
            block.append(line)


def _kind(line: str) -> str:
    for start, kind in (("|", "table"), ("- ", "list"), ("#", line)):
        if line.startswith(start):
            return kind
    return "text"


def _items(block: list[str]) -> Iterator[str]:
    item = ""
    for line in block:
        if line.startswith("- ") and item:
            yield _words(item)
            item = ""
        item += (" " if item else "") + line.removeprefix("- ").strip()
    yield _words(item)


def _table(block: list[str], caption: str, said: str, anchors: Anchors) -> Table | None:
    rows = [[_words(cell.strip()) for cell in line.strip().strip("|").split("|")]
            for line in block if not re.fullmatch(r"[|\s:]*-[|\s:-]*", line)]
    if not rows:
        return None
    head, width = rows[0], len(rows[0])
    # A heading of nothing says nothing to a screen reader.
    head = [text or ("value" if place else "figure") for place, text in enumerate(head)]
    name = f"{caption}: {head[0]}"
    cells = tuple(tuple(Cell(text, leading(text)) for text in (row + [""] * width)[:width])
                  for row in rows[1:])
    # Figures one below the other, each with its name, are read and not sorted.
    return Table(anchors.new(name), said or name, plain(head), cells, sortable=width > 2)


def _words(text: str) -> str:
    """A text without the signs of emphasis and code."""
    text = re.sub(r"`([^`]*)`", r"\1", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"\1", text)
    return re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"\1", text)
