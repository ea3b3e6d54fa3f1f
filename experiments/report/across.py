"""One table across data sets: every line and baseline on each, from the runs' records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from experiments.report.blocks import NONE, Cell, Column, Table
from experiments.report.finding import unlike
from experiments.report.standings import MAIN, Standing, spread_cell, standings
from experiments.report.tables import Runs, described, place
from privfedmm.base.errors import UserError
from privfedmm.runs.record import same_protocol

# What needs no training, and no other user: who is below it has learnt nothing.
FLOORS = ("popularity", "public_features")
LOW = "‡"
BASELINE = "baseline"
HEADS = ("model", "epsilon", "trust", "seeds")  # before the data sets


def rivals(every: Sequence[Runs], against: str) -> list[str]:
    """Return whom the runs of each data set are compared with: `against`, or nobody where no run on
    the data has that name. Raises UserError where none has it on any, or several on one."""
    there = [runs.has(against) for runs in every]
    for runs, has in zip(every, there, strict=True):
        if has or not any(there):
            runs.check(against)
    return [against if has else "" for has in there]


def across_table(every: Sequence[Runs], anchor: str) -> Table:
    """Return the table: a line a label and baseline, a column a data set.

    Raises UserError where data sets of one name are not the same data: a column would not say which
    it is of.
    """
    _refuse_namesakes(every)
    found = [{(one.kind == BASELINE, one.name): one for one in standings(runs, "", False)}
             for runs in every]
    order = sorted({name: place(runs.records[name][0]) for runs in every
                    for name in runs.records}.items(), key=lambda pair: pair[1])
    columns = (*map(Column, HEADS), *(
        Column(str(runs.data["name"]), ("standard deviation",), "high") for runs in every))
    lines = Table(anchor, CAPTION, columns, tuple(
        _row([row.get((False, name)) for row in found], [_floors(row.values()) for row in found])
        for name, _ in order)).marked()
    names = dict.fromkeys(name for row in found for baseline, name in row if baseline)
    # In the order of the runs' configs; the best of a column is looked for above them.
    ordered = [name for runs in every for name in runs.baselines()]
    baselines = tuple(_row([row.get((True, name)) for row in found], None)
                      for name in dict.fromkeys(ordered) if name in names)
    return replace(lines, rows=lines.rows + baselines)


CAPTION = (
    f"Test {MAIN} on each data set, mean over seeds (± standard deviation). Marked as best: the "
    "best of the column that is no baseline. A dash: not run there. Where data sets differ in the "
    "number of seeds, it is given for each, in the order of the columns.")


def _row(found: list[Standing | None], floors: list[float | None] | None) -> tuple[Cell, ...]:
    """A line of the table. found: where it stands on each data set. floors: what it has to be above
    there; None for baselines."""
    here = [one for one in found if one is not None]
    first = here[0]
    seeds = [str(one.seeds) if one else NONE for one in found]
    said = seeds[found.index(first)] if len({one.seeds for one in here}) == 1 else ", ".join(seeds)
    cells = []
    for place_, one in enumerate(found):
        cell = Cell(NONE) if one is None else spread_cell(one.test[MAIN])
        floor = None if floors is None else floors[place_]
        if one is not None and floor is not None and one.mean < floor:
            cell = replace(cell, note=f"{cell.note} {LOW}".strip())
        cells.append(cell)
    return (Cell(first.name, note=BASELINE if floors is None else ""),
            Cell(_list("none" if one.epsilon is None else f"{one.epsilon:g}" for one in here)
                 if floors is not None else ""),
            Cell(_list(one.trust for one in here if one.kind == "private")), Cell(said), *cells)


def _list(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _floors(found: Iterable[Standing]) -> float | None:
    """The highest of the lines that a result has to be above; None where none was computed."""
    return max((one.mean for one in found if one.kind == BASELINE and one.name in FLOORS),
               default=None)


def notes(every: Sequence[Runs], left_out: Sequence[str]) -> list[str]:
    """Return what has to be said of the table, in sentences.

    left_out: records that could not be read, in sentences.
    """
    out = [f"{LOW} below {' or '.join(FLOORS)} on that data set.",
           "Figures compare within a column alone."
           + (" Data sets are judged under different protocols." if _protocols(every) > 1 else "")]
    out += [f"{described(runs)} Candidates: {_first(runs)['protocol']['candidates']}."
            for runs in every]
    for runs in every:
        missing = [name for name in FLOORS if name not in runs.baselines()]
        if missing:
            out.append(f"On {runs.data['name']} no run computed {' and '.join(missing)}: nothing "
                       "is marked by it.")
    for name in dict.fromkeys(name for runs in every for name in runs.groups):
        groups = {str(runs.data["name"]): runs.groups[name] for runs in every
                  if name in runs.groups}
        if len(groups) > 1 and (differs := unlike(groups)):
            out.append(f"{name} is not the same on all data sets: {differs}.")
    return [*out, *(text if text.endswith(".") else text + "." for text in left_out)]


def across_text(every: Sequence[Runs], left_out: Sequence[str]) -> list[str]:
    """Return the table and its notes as lines of Markdown, with a heading."""
    table = across_table(every, "across")
    lines = ["## Across data sets", "", "| " + " | ".join(c.title for c in table.columns) + " |",
             "|---" * len(table.columns) + "|"]
    for name, *cells in table.rows:
        text = name.text.replace("|", "\\|")
        lines.append(f"| {f'*{text}*' if name.note else text} | "
                     + " | ".join(_markdown(cell) for cell in cells) + " |")
    return [*lines, "", CAPTION.replace("Marked as best", "Bold") + " In italics: baselines, "
            "without noise.", "", *(f"- {note}" for note in notes(every, left_out))]


def _markdown(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.mark == "best" else cell.text
    return f"{text} {cell.note}".strip()


def _protocols(every: Sequence[Runs]) -> int:
    return len({same_protocol(_first(runs)) for runs in every})


def _first(runs: Runs) -> dict[str, Any]:
    return next(iter(runs.records.values()))[0]


def _refuse_namesakes(every: Sequence[Runs]) -> None:
    counts = Counter(str(runs.data["name"]) for runs in every)
    for name, count in counts.items():
        if count > 1:
            which = "; ".join(
                f"{' or '.join(map(str, runs.ranked))} users ranked, SHA-256 "
                f"{runs.data['sha256'][:12]}"
                for runs in every if runs.data["name"] == name)
            raise UserError(f"report: the runs are on different data sets that are all called "
                            f"{name} ({which}); report one at a time")
