"""Parts of a page as HTML: what people see, and what a screen reader, a printer and a paper get."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Iterable
from typing import Any

from experiments.report.blocks import (
    NONE,
    Behind,
    Cell,
    Chart,
    Column,
    Part,
    Section,
    Table,
    Text,
)
from experiments.report.exports import as_csv, as_latex

_MARKS = {"best": ("★", "best of all"), "first": ("", "best at its epsilon"), "": ("", "")}
_FILTER = 8  # rows from which a table can be filtered


def section_html(section: Section) -> str:
    """Return a section with its heading, which is a link to itself."""
    anchor, title = section.anchor, html.escape(section.title)
    return (f'<section id="{anchor}" aria-labelledby="{anchor}-title"><h2 id="{anchor}-title">'
            f'{title} <a class="anchor" href="#{anchor}" aria-label="Link to {title}">#</a></h2>'
            + "\n".join(part_html(part) for part in section.parts) + "</section>")


def contents_html(sections: Iterable[Section]) -> str:
    """Return the table of contents: sections, and the charts in them."""
    lines = []
    for section in sections:
        charts = [part for part in section.parts if isinstance(part, Chart)]
        inner = "".join(f'<li><a href="#{c.anchor}">{html.escape(c.title)}</a></li>'
                        for c in charts if len(charts) > 1)
        lines.append(f'<li><a href="#{section.anchor}">{html.escape(section.title)}</a>'
                     + (f"<ul>{inner}</ul>" if inner else "") + "</li>")
    return f'<ul>{"".join(lines)}</ul>'


def part_html(part: Part) -> str:
    """Return one part of a section."""
    match part:
        case Table():
            return (f'<div class="block" id="{part.anchor}">{table_html(part)}'
                    f"{_downloads(part, part.anchor, picture=False)}</div>")
        case Chart():
            return _chart(part)
        case Text():
            return _text(part)
        case Behind():
            inner = "\n".join(part_html(one) for one in part.parts)
            return (f'<details class="behind"{" open" if part.open else ""}><summary>'
                    f"{html.escape(part.title)}</summary>{inner}</details>")
        case _:
            return part.html


def _text(text: Text) -> str:
    shown = f' class="verdict {text.tone}"' if text.tone else ""
    if text.listed:
        return f"<ul{shown}>{''.join(f'<li>{_line(line)}</li>' for line in text.lines)}</ul>"
    return "".join(f"<p{shown}>{_line(line)}</p>" for line in text.lines)


def _line(text: str) -> str:
    """A line in which `code` may stand."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def table_html(table: Table) -> str:
    """Return a table that scrolls within itself, and can be sorted and filtered by script."""
    caption = html.escape(table.caption)
    figures = [_figures(table, place) for place in range(len(table.columns))]
    head = "".join(_head(column, figure)
                   for column, figure in zip(table.columns, figures, strict=True))
    body = "".join("<tr>" + "".join(
        _cell(cell, place == 0, figures[place]) for place, cell in enumerate(row)) + "</tr>"
        for row in table.rows)
    can = ' data-filter="1"' if len(table.rows) >= _FILTER and table.sortable else ""
    kind = ' class="sortable n-last"' if table.sortable else ""
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"{can}>'
            f'<table{kind}><caption><span>{caption}</span></caption><thead><tr>{head}</tr>'
            f"</thead><tbody>{body}</tbody></table></div>")


def _figures(table: Table, place: int) -> bool:
    """Whether a column is one of figures, and stands to the right."""
    cells = [row[place] for row in table.rows if row[place].text not in ("", NONE)]
    return bool(cells) and all(cell.value is not None for cell in cells)


def _head(column: Column, figure: bool) -> str:
    return f'<th scope="col"{_side(figure)}>{html.escape(column.title)}</th>'


def _cell(cell: Cell, first: bool, figure: bool) -> str:
    tag = 'th scope="row"' if first else "td"
    sign, means = _MARKS[cell.mark]
    text = html.escape(cell.text)
    if cell.mark:
        text = (f'<span class="{cell.mark}">{text}</span>'
                f'<span class="star" aria-hidden="true">{sign}</span>'
                f'<span class="unseen"> ({means})</span>')
    if cell.note:
        text += f" <small>{html.escape(cell.note)}</small>"
    sort = "" if cell.value is None else f' data-sort="{_sortable(cell.value)}"'
    if cell.text == NONE:
        sort = ' data-sort=""'
    return f"<{tag}{_side(figure)}{sort}>{text}</{tag[:2]}>"


def _side(figure: bool) -> str:
    return ' class="figure"' if figure else ""


def _sortable(value: float) -> str:
    return "Infinity" if math.isinf(value) else repr(value)


def _chart(chart: Chart) -> str:
    anchor = chart.anchor
    return (
        f'<figure class="block chart" id="{anchor}" data-kind="{chart.kind}" '
        f'aria-labelledby="{anchor}-title" aria-describedby="{anchor}-says">'
        f'<h3 id="{anchor}-title">{html.escape(chart.title)}</h3>'
        f'<div class="controls"></div>'
        f'<div class="plot" role="group" aria-label="{html.escape(chart.title)}: '
        f'{html.escape(chart.summary)}"></div>'
        f'<figcaption id="{anchor}-says">{html.escape(chart.caption)}</figcaption>'
        f"{_downloads(chart.table, anchor, picture=True)}"
        f'<details class="data"><summary>Table of these figures</summary>'
        f"{table_html(chart.table)}</details>"
        f'<script type="application/json">{json_in_html(chart.data)}</script></figure>')


def json_in_html(value: Any) -> str:
    """Return JSON that cannot end the element that it stands in. Raises ValueError for figures that
    JSON does not have."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False).replace("<", "\\u003c")


def _downloads(table: Table, name: str, picture: bool) -> str:
    pictures = "".join(
        f'<button type="button" data-save="{kind}" aria-label="Download {name} as '
        f'{kind.upper()}">{kind.upper()}</button>' for kind in ("svg", "png") if picture)
    texts = "".join(
        f'<a download="{name}.{ending}" aria-label="Download {name} as {label}" '
        f'href="data:{kind};charset=utf-8;base64,'
        f'{base64.b64encode(text.encode()).decode()}">{label}</a>'
        for label, ending, kind, text in (("CSV", "csv", "text/csv", as_csv(table)),
                                          ("LaTeX", "tex", "text/x-tex", as_latex(table))))
    return f'<div class="downloads"><span>Download</span>{pictures}{texts}</div>'
