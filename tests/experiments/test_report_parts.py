"""Pieces of a report's page: tables and what they are exported as, Markdown, colours, libraries."""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import io
import re
import tomllib
from pathlib import Path

import pytest

from experiments.report.blocks import Anchors, Cell, Column, Table, Text, leading, number
from experiments.report.exports import as_csv, as_latex
from experiments.report.from_markdown import heading_of, parts_of
from experiments.report.page import SCRIPTS, STYLES
from experiments.report.render import json_in_html, table_html
from tests import markup

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "experiments" / "report" / "static"


def _table() -> Table:
    columns = (Column("model_a"), Column("score", ("low", "high"), "high"),
               Column("cost", (), "low"))
    return Table("here", "100% of it", columns, (
        (Cell("a & b, \"c\""), number(0.51239, ".3f", 0.4, None, note="± 0.1"), number(3, "d")),
        (Cell("=1+1"), number(0.51241, ".3f"), number(None, "d")),
        (Cell("low"), number(0.4, ".3f"), number(1, "d")),
        (Cell("last"), number(0.1, ".3f"), number(7, "d")),
        (Cell("rest"), number(0.05, ".3f"), number(8, "d")),
    ), ("x", "x", "y", "y", "y"))


def test_best_values_are_marked_of_all_and_of_each_group() -> None:
    rows = _table().marked().rows
    # What reads alike is equally good, whatever the digits that are not shown.
    assert [row[1].mark for row in rows] == ["best", "best", "first", "", ""]
    assert [row[2].mark for row in rows] == ["first", "", "best", "", ""]
    assert all(row[0].mark == "" for row in rows)


def test_a_tie_of_a_few_is_marked_and_of_most_is_not() -> None:
    def marks(values: list[float]) -> list[str]:
        rows = tuple((number(value, ".1f"),) for value in values)
        return [row[0].mark for row in Table(
            "t", "", (Column("v", (), "high"),), rows).marked().rows]

    assert marks([2, 1, 2, 1, 0, 0, 0, 0]) == ["best", "", "best", "", "", "", "", ""]
    assert marks([2, 2, 2, 1]) == ["", "", "", ""]


def test_csv_has_figures_at_full_precision_and_no_formulas() -> None:
    head, *rows = csv.reader(io.StringIO(as_csv(_table())))
    assert head == ["model_a", "score", "score low", "score high", "cost"]
    assert rows[0] == ['a & b, "c"', "0.51239", "0.4", "", "3"]
    assert rows[1] == ["'=1+1", "0.51241", "", "", ""]


def test_latex_is_escaped_and_marks_the_best() -> None:
    text = as_latex(_table().marked())
    assert r"\caption{100\% of it}" in text and r"\begin{tabular}{lrr}" in text
    assert r"model\_a & score & cost \\" in text
    assert r'a \& b, "c" & \textbf{0.512} $\pm$ 0.1 & \underline{3} \\' in text
    assert r"=1+1 & \textbf{0.512} & - \\" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == 5 and all(line.count(" & ") == 2 for line in body)


@pytest.mark.parametrize(("text", "value"), [
    ("0.5", 0.5), ("1.5e-03 (2e-2)", 0.0015), ("30%", 30), ("1,024", 1024), ("-0.2 [-1, 1]", -0.2),
    ("2 of 3", 2), ("none", None), ("3D", None), ("", None), ("77d17a223295", None),
])
def test_the_figure_that_a_text_begins_with(text: str, value: float | None) -> None:
    assert leading(text) == value


def test_tables_are_html_that_says_what_it_marks() -> None:
    tree = markup.parse(table_html(_table().marked()))
    region = tree.one("div", class_="scroll")
    assert region.attributes["tabindex"] == "0" and region.attributes["aria-label"] == "100% of it"
    assert [cell.attributes.get("data-sort") for cell in tree.one("tbody").all("td")][:4] == [
        "0.51239", "3.0", "0.51241", ""]
    assert tree.one("tbody").all("tr")[1].one(class_="best").text() == "0.512"
    assert tree.one("tbody").all("tr")[1].one(class_="unseen").text() == "(best of all)"


def test_markdown_becomes_parts() -> None:
    parts = parts_of(
        "## Audit: `one`\n\nClaimed: *nothing*.\nMore of it.\n\n| a | `b` | c |\n|---|---|---|\n"
        "| x | 1.5 (2) | |\n| y |\n\n- first\n- second\n  goes on\n\n| | |\n|---|---|\n| k | v |\n",
        "Audit", Anchors(), ("The first.",))
    text, table, items, pairs = parts
    assert text == Text(("Claimed: nothing. More of it.",))
    assert isinstance(table, Table) and table.caption == "The first." and table.sortable
    assert [c.title for c in table.columns] == ["a", "b", "c"]
    assert [[c.text for c in row] for row in table.rows] == [["x", "1.5 (2)", ""], ["y", "", ""]]
    assert table.rows[0][1].value == 1.5
    assert items == Text(("first", "second goes on"), listed=True)
    assert isinstance(pairs, Table) and not pairs.sortable
    assert [c.title for c in pairs.columns] == ["figure", "value"]
    assert heading_of("## Audit: `one`\n") == "Audit: one" and heading_of("none") == ""


def test_anchors_are_given_away_once() -> None:
    anchors = Anchors()
    assert [anchors.new(text) for text in ("A (b)", "a b", "a-b", "§")] == [
        "a-b", "a-b-2", "a-b-3", "part"]


def test_json_cannot_end_its_element() -> None:
    assert "<" not in json_in_html({"a": "</script><!--"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_in_html(float("nan"))


def _luminance(colour: str) -> float:
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_the_page(theme: int) -> None:
    css = (STATIC / "page.css").read_text()
    colours = {name: pair[theme] for name, *pair in re.findall(
        r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", css)}
    for name in ("ink", "soft", "link", "good", "bad"):
        for ground in ("page", "surface"):
            assert _contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    lines = [value for name, value in colours.items() if re.fullmatch(r"c\d", name)]
    assert len(lines) == len(set(lines)) == 7
    assert all(_contrast(colour, colours["page"]) >= 3 for colour in lines)
    # Text stands on every mixture of these two.
    assert _contrast(colours["ink"], colours["heat"]) >= 4.5


def test_libraries_are_what_their_table_says() -> None:
    readme = (STATIC / "vendor" / "README.md").read_text()
    listed = dict(re.findall(r"^\| `(\S+)` .* `([0-9a-f]{64})` \|$", readme, re.MULTILINE))
    files = {file.name for file in (STATIC / "vendor").glob("*.js")}
    assert listed.keys() == files
    for name, digest in listed.items():
        raw = (STATIC / "vendor" / name).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == digest
        assert b"</script" not in raw and b"<!--" not in raw
        assert (STATIC / "vendor" / f"{name.split('.')[0]}.LICENSE").stat().st_size > 500
    assert sum((STATIC / "vendor" / name).stat().st_size for name in files) < 600_000


def test_every_static_file_is_used_short_and_part_of_the_package() -> None:
    own = {file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*") if file.is_file()}
    used = {*SCRIPTS, *STYLES}
    assert used <= own
    assert all(name.startswith("vendor/") for name in own - used)
    for name in used:
        if not name.startswith("vendor/"):
            assert len((STATIC / name).read_text().splitlines()) <= 350, name
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"]["experiments"]
    for name in own:
        assert any(fnmatch.fnmatch(f"report/static/{name}", p) for p in patterns), name
