"""Where the runs of a sweep stand, short enough for a terminal: the figures of the report."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.table import Table

from experiments.report.finding import find
from experiments.report.standings import MAIN, Standing, spread_cell, standings
from experiments.report.tables import Runs
from privfedmm.runs.trust import BELOW


def standings_tables(folders: Iterable[Path]) -> list[Table | str]:
    """Return a table for each data set, the best first, and what its marks mean.

    folders: of finished runs. Raises UserError where the figures of the runs do not compare, as the
    report does.
    """
    out: list[Table | str] = []
    low = False
    for runs in Runs.each(find(folders)):
        found = standings(runs, "", intervals=False)
        table = Table(title=(
            f"test {MAIN} on {runs.data['name']}, {' or '.join(map(str, runs.ranked))} users"))
        for column in ("model", "epsilon", "seeds", "mean ± sd over seeds"):
            table.add_column(column)
        for one in found:
            table.add_row(*_row(one), style="italic" if one.kind == "baseline" else None)
        out.append(table)
        low = low or any(one.below for one in found)
    return [*out, "in italics: baselines" + (
        f"; {BELOW}: below a baseline that needs less trust" if low else "")]


def _row(one: Standing) -> tuple[str, str, str, str]:
    cell = spread_cell(one.test[MAIN])
    name = f"{one.name} (baseline)" if one.kind == "baseline" else one.name
    return (name, "" if one.kind == "baseline" else one.level, str(one.seeds),
            " ".join(filter(None, (cell.text, cell.note, BELOW if one.below else ""))))
