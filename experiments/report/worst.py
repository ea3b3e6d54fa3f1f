"""Lines judged by the data set where they are worst, by validation alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.report.blocks import NONE, Cell, Column, Table
from experiments.report.standings import MAIN
from experiments.report.tables import Runs, place

CAPTION = (
    f"Validation {MAIN}, as a share of the best line or baseline of the column, mean over seeds; "
    "sorted by the worst data set. Baselines see what their row in the tables below says. What is "
    "chosen by this table is chosen without a look at a test metric.")


def shares(runs: Runs) -> Mapping[str, float]:
    """Return each label's mean validation MAIN as a share of the best label or baseline."""
    ours = {label: float(np.mean([r["metrics"]["validation"][MAIN] for r in records]))
            for label, records in runs.records.items()}
    others = [float(np.mean([line["validation"][MAIN] for line in found]))
              for found in runs.baselines().values()
              if all(MAIN in line.get("validation", {}) for line in found)]
    best = max([*ours.values(), *others])
    return {label: value / best if best else 0.0 for label, value in ours.items()}


def worst_table(every: Sequence[Runs], anchor: str) -> Table:
    """Return the table: a line a label that was played on all data sets, a column a data set, and
    the least share of each line."""
    found = [shares(runs) for runs in every]
    labels = [label for label in dict.fromkeys(label for row in found for label in row)
              if all(label in row for row in found)]
    order = sorted(labels, key=lambda label: (
        -min(row[label] for row in found), place(every[0].records[label][0])))
    columns = (Column("model"), *(Column(str(runs.data["name"]), (), "high") for runs in every),
               Column("worst", (), "high"))
    rows = tuple((Cell(label), *(_share(row[label]) for row in found),
                  _share(min(row[label] for row in found))) for label in order)
    return Table(anchor, CAPTION, columns, rows)


def worst_text(every: Sequence[Runs]) -> list[str]:
    """Return the table as lines of Markdown with a heading; nothing where no label was played on
    all data sets."""
    table = worst_table(every, "worst")
    if not table.rows:
        return []
    head = [column.title for column in table.columns]
    return ["## By the worst data set", "", "| " + " | ".join(head) + " |",
            "|---" * len(head) + "|",
            *("| " + " | ".join(cell.text.replace("|", "\\|") or NONE for cell in row) + " |"
              for row in table.rows), "", CAPTION, ""]


def _share(value: float) -> Cell:
    return Cell(f"{value:.1%}", value)
