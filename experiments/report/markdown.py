"""The Markdown of `privfedmm report`: tables of one data set, or across several."""

from __future__ import annotations

from pathlib import Path

from experiments.report.across import across_text, rivals
from experiments.report.finding import find
from experiments.report.sections import apart, audits, comparisons, texts
from experiments.report.tables import KEYS, Runs, head, preface, rows, spread
from experiments.report.worst import worst_text

FOOTNOTE = (
    "Spread is the standard deviation over seeds. Intervals: percentile bootstrap over users and "
    "seeds of the paired difference (at the same epsilon, where the rival is a curve). Rows in "
    "italics: baselines without noise, which hold what their server sees in the record."
)


def markdown(folders: list[Path], against: str, title: str) -> str:
    """Return a Markdown page: one line a label with mean and spread over seeds, then the
    baselines.

    Of several data sets there is a table across them first. Raises UserError for runs whose figures
    do not compare, and for a name `against` that no run has.
    """
    found = find(folders)
    every = Runs.each(found)
    lines = [f"# {title}", ""]
    if len(every) > 1:
        lines += [*across_text(every, found.left_out), "", *worst_text(every)]
    *own, beside = apart([*comparisons(folders), *audits(folders)], every)
    for runs, rival, more in zip(every, rivals(every, against), own, strict=True):
        if len(every) > 1:
            lines += [f"## {runs.data['name']}", ""]
        lines += _of_data(runs, rival)
        for section in texts(more):
            lines += [section, ""]
    for section in texts(beside):
        lines += [section, ""]
    return "\n".join(lines)


def _of_data(runs: Runs, against: str) -> list[str]:
    lines = [*preface(runs), ""]
    names = head(runs, against)
    lines += ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for label, row in rows(runs, against):
        lines.append(f"| {label} | " + " | ".join(row) + " |")
    for name, baseline in runs.baselines().items():
        figures = [spread([line["test"][k] for line in baseline]) for k in KEYS]
        lines.append(f"| *{name}* |" + " |" * (1 + len(runs.columns)) + " "
                     + " | ".join(figures) + " | |" + (" |" if against else ""))
    return [*lines, "", FOOTNOTE, ""]
