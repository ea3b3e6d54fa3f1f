"""What a page is made of: tables, charts with the table behind them, texts, in sections."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Direction = Literal["", "high", "low"]
Tone = Literal["", "good", "bad"]
NONE = "-"  # in place of a figure that there is not


@dataclass(frozen=True)
class Cell:
    """A cell of a table is what people read, and the figures behind it.

    text: as shown. value: the figure by which rows are sorted and which is exported at full
    precision; None where the text is no figure. extra: further figures of the cell, one for each
    name in the column's `extra`. note: shown smaller, beside the text. mark: `best` of its column,
    `first` among the rows of its group, or nothing.
    """

    text: str
    value: float | None = None
    extra: tuple[float | None, ...] = ()
    note: str = ""
    mark: Literal["", "best", "first"] = ""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    extra: names of the further figures of each cell, columns of their own in CSV. better: whether
    high or low values are the better ones, which are then marked.
    """

    title: str
    extra: tuple[str, ...] = ()
    better: Direction = ""


@dataclass(frozen=True)
class Table:
    """A table has an anchor of its own, a caption, and rows as they are first sorted.

    groups: of each row, among which its best values are marked; empty for one group of all.
    sortable: whether another order of its rows would make sense.
    """

    anchor: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    groups: tuple[str, ...] = ()
    sortable: bool = True

    def marked(self) -> Table:
        """Return the table with the best value of each column marked: of all rows, and of the rows
        of each group. What most rows have is no distinction, and not marked."""
        groups = self.groups or ("",) * len(self.rows)
        rows = [list(row) for row in self.rows]
        for place, column in enumerate(self.columns):
            if not column.better or len(rows) < 2:
                continue
            sign = 1 if column.better == "high" else -1
            # What reads alike is equally good: ties of the digits shown are all marked.
            best: dict[str | None, float] = {}
            for row, group in zip(rows, groups, strict=True):
                value = row[place].value
                if value is not None:
                    for key in (None, group):
                        best[key] = max(best.get(key, -math.inf), sign * value)
            shown = {(key, row[place].text) for row, group in zip(rows, groups, strict=True)
                     for key in (None, group)
                     if (v := row[place].value) is not None and sign * v == best[key]}
            texts = [row[place].text for row in rows]
            for row, group in zip(rows, groups, strict=True):
                text = row[place].text
                if row[place].value is None or texts.count(text) > max(2, len(rows) // 4):
                    continue
                if (None, text) in shown:
                    row[place] = replace(row[place], mark="best")
                elif (group, text) in shown and groups.count(group) > 1:
                    row[place] = replace(row[place], mark="first")
        return replace(self, rows=tuple(tuple(row) for row in rows))


@dataclass(frozen=True)
class Chart:
    """A chart is drawn in the browser from its data, and read as a table where it is not.

    kind: which function of static/charts.js draws it. summary: what a screen reader says of it in
    place of the picture. data: what it is drawn from, as JSON. table: the same figures.
    """

    anchor: str
    title: str
    kind: Literal["lines", "bars", "heat"]
    caption: str
    summary: str
    data: dict[str, Any]
    table: Table


@dataclass(frozen=True)
class Text:
    """A paragraph, or a list of them; `tone` where it is a verdict."""

    lines: tuple[str, ...]
    listed: bool = False
    tone: Tone = ""


@dataclass(frozen=True)
class Markup:
    """HTML that its maker has escaped."""

    html: str


@dataclass(frozen=True)
class Behind:
    """Parts that are shown on demand, or at first where they are `open`."""

    title: str
    parts: tuple[Part, ...]
    open: bool = False


Part = Table | Chart | Text | Markup | Behind


@dataclass
class Section:
    """A section of a page, with the anchor that its line in the contents leads to."""

    anchor: str
    title: str
    parts: list[Part] = field(default_factory=list)


class Anchors:
    """These are the anchors of one page; each is given away once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, text: str) -> str:
        """Return an anchor that reads like the text, with a number where that one is taken."""
        base = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "part"
        anchor, number = base, 2
        while anchor in self._taken:
            anchor, number = f"{base}-{number}", number + 1
        self._taken.add(anchor)
        return anchor


def plain(columns: Iterable[str]) -> tuple[Column, ...]:
    """Return columns of which no value is better than another."""
    return tuple(Column(title) for title in columns)


def number(value: float | None, form: str, *extra: float | None, note: str = "") -> Cell:
    """Return the cell of a figure; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return Cell(NONE)
    return Cell(format(value, form), float(value), tuple(extra), note)


def words(row: Sequence[str]) -> tuple[Cell, ...]:
    """Return a row of texts, each with the figure that it begins with, if it is one."""
    return tuple(Cell(text, leading(text)) for text in row)


def leading(text: str) -> float | None:
    """Return the figure that a text is or begins with; None where there is none."""
    found = re.match(r"\s*([-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?)(?=$|[\s;,%\[(])", text)
    return float(found[1].replace(",", "")) if found else None
