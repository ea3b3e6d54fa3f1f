"""Copies the README's table from the page of results: `python -m tests.headline` (make headline).

`docs/results/headline.md` is what `privfedmm report` writes of the sweep `headline` on several data
sets. Its table across them is the one place where the README's table comes from; a test fails where
the two differ.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "results" / "headline.md"
START, END = "<!-- headline -->", "<!-- /headline -->"
HEADING = "## Across data sets"
# What the README shows of the page, in this order.
ROWS = (
    "gfmfr", "gfmfr, masked", "backbone",
    "gfmfr, private, epsilon 8", "gfmfr, private, epsilon 2",
    "group_statistics, epsilon 8", "group_statistics, epsilon 2",
    "group_statistics, distributed, epsilon 2",
    "*slit*", "*ease*", "*ials*", "*popularity_profile*", "*public_features*", "*popularity*",
    "*random*")
COLUMNS = ("model", "epsilon", "trust", "seeds", "ml-100k", "ml100k_posters", "ml1m_posters")


class HeadlineError(ValueError):
    """The page or the README is not there, or lacks what the table is made of."""


def block(page: str, rows: Sequence[str] = ROWS, columns: Sequence[str] = COLUMNS) -> str:
    """The lines from START to END: the chosen part of the table across data sets, with the page's
    own words on it."""
    lines = _across(page)
    table = [_cells(line) for line in lines if line.startswith("|")]
    if not table:
        raise HeadlineError(f"{PAGE.name} has no table below {HEADING!r}")
    head, body = table[0], {row[0]: row for row in table[2:]}
    missing = [*(f"column {name!r}" for name in columns if name not in head),
               *(f"row {name!r}" for name in rows if name not in body)]
    if missing:
        raise HeadlineError(f"{PAGE.name} has no {', '.join(missing)}; choose from what it has in "
                            "tests/headline.py")
    places = [head.index(name) for name in columns]
    said = [body[name][head.index("seeds")] for name in rows]
    if any("," in text for text in said) and set(head) - set(columns):
        raise HeadlineError("the seeds of a row are given by data set: choose all columns")
    words = [line for line in lines if line and line[0] not in "|#"]
    # The first paragraph is on the table, and the first note on its signs.
    caption, sign = words[0], words[1].removeprefix("- ")
    return "\n".join([
        START, _line(columns), "|---" * len(columns) + "|",
        *(_line([body[name][place] for place in places]) for name in rows), "",
        f"{caption} {sign} From [{PAGE.stem}]({PAGE.relative_to(ROOT)}).", END])


def _across(page: str) -> list[str]:
    _, there, rest = page.partition(f"{HEADING}\n")
    if not there:
        raise HeadlineError(f"{PAGE.name} has no section {HEADING!r}: report several data sets")
    return rest.partition("\n## ")[0].splitlines()


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def shown(readme: str) -> str:
    """The lines from START to END as they stand in the README."""
    if readme.count(START) != 1 or readme.count(END) != 1:
        raise HeadlineError(f"README.md needs a line {START} and a line {END}, once each, where "
                            "the table is to stand")
    return START + readme.partition(START)[2].partition(END)[0] + END


def page_text() -> str:
    """The page of results."""
    if not PAGE.exists():
        raise HeadlineError(f"there is no {PAGE.relative_to(ROOT)}; write it with privfedmm report "
                            "from runs of the sweep headline")
    return PAGE.read_text(encoding="utf-8")


def main() -> None:
    """Write the README's table anew."""
    readme = README.read_text(encoding="utf-8")
    try:
        made = readme.replace(shown(readme), block(page_text()))
    except HeadlineError as error:
        sys.exit(str(error))
    README.write_text(made, encoding="utf-8")
    print(README.name)


if __name__ == "__main__":
    main()
