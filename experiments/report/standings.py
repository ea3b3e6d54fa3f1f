"""Where every model of a report stands: means, intervals and who is compared with whom."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from experiments.report.blocks import NONE, Cell, Column, Table, leading, number, plain
from experiments.report.tables import KEYS, Runs, marked
from privfedmm.evaluation import paired_interval
from privfedmm.runs.trust import BELOW

MAIN = "ndcg@50"
Kind = Literal["private", "open", "baseline"]
KINDS: dict[Kind, str] = {
    "private": "with a privacy budget", "open": "without a budget", "baseline": "baseline"}


@dataclass(frozen=True)
class Standing:
    """This is where one model stands.

    name: its label, or a baseline's name. epsilon: its budget; infinite where it was asked for
    without one, None where none was asked for. series: the curve that it is a point of. seeds: how
    many there are. test: test metrics, a value a run. validation: the same of NDCG@50. low, high:
    the 95% interval of its mean test NDCG@50 over users and seeds; None for baselines, whose ranks
    are not kept, and where nobody asked for it. rival, difference: with whom it is compared, and
    the mean difference with its 95% interval. what: what its runs are, a cell for each column in
    which runs differ. below: whether it is below a baseline that needs less trust. trust: whom its
    claim trusts; nothing where no budget was asked for.
    """

    name: str
    kind: Kind
    epsilon: float | None
    series: str
    seeds: int
    test: dict[str, tuple[float, ...]]
    validation: tuple[float, ...]
    low: float | None = None
    high: float | None = None
    rival: str = ""
    difference: tuple[float, float, float] | None = None
    what: tuple[str, ...] = ()
    below: bool = False
    trust: str = ""

    @property
    def mean(self) -> float:
        """Return the mean test NDCG@50 over seeds."""
        return float(np.mean(self.test[MAIN]))

    @property
    def level(self) -> str:
        """Return the privacy that it stands at, in words: its epsilon, or none."""
        if self.epsilon is None or math.isinf(self.epsilon):
            return "none"
        return f"{self.epsilon:g}"

    def says(self) -> str:
        """Return what a reader is told of its point: name, mean and interval."""
        text = f"{self.name}: {self.mean:.4f}"
        if self.low is not None and self.high is not None:
            text += f", 95% interval {self.low:.4f} to {self.high:.4f}"
        return text


def standings(runs: Runs, against: str, intervals: bool = True) -> list[Standing]:
    """Return where every label and baseline of the runs stands, the best first.

    intervals: whether intervals of means are wanted, which take a second each.
    """
    low = marked(runs)
    out = [_of_label(runs, label, against, label in low, intervals) for label in runs.records]
    for name, found in runs.baselines().items():
        test = {key: tuple(line["test"][key] for line in found)
                for key in found[0]["test"] if all(key in line["test"] for line in found)}
        out.append(Standing(name, "baseline", None, "", runs.baseline_seeds(name), test, ()))
    return sorted(out, key=lambda one: -one.mean)


def epsilon_of(record: dict[str, Any]) -> float | None:
    """Return the budget that a run was asked for; infinite for `inf`, None for none."""
    asked = record["dp_epsilon"]
    return None if asked in (None, 0, 0.0) else float(asked)


def _of_label(runs: Runs, label: str, against: str, below: bool, intervals: bool) -> Standing:
    records = runs.records[label]
    epsilon = epsilon_of(records[0])
    low: float | None = None
    high: float | None = None
    if intervals:
        values = runs.gains(label)
        _, low, high = paired_interval(values, np.zeros_like(values), seed=0)
    rival = (runs.rival(label, against) if against else None) or ""
    return Standing(
        label, "private" if epsilon is not None and math.isfinite(epsilon) else "open", epsilon,
        records[0]["series"] or "", len(records),
        {key: tuple(r["metrics"]["test"][key] for r in records)
         for key in records[0]["metrics"]["test"]
         if all(key in r["metrics"]["test"] for r in records)},
        tuple(r["metrics"]["validation"][MAIN] for r in records), low, high, rival,
        _difference(runs, label, rival) if rival else None, tuple(runs.what(label)), below,
        "" if epsilon is None else records[0]["privacy"]["trust"])


def _difference(runs: Runs, ours: str, theirs: str) -> tuple[float, float, float] | None:
    common = sorted(runs.folders[ours].keys() & runs.folders[theirs].keys())
    if not common:
        return None
    return paired_interval(*runs.paired(ours, theirs, common), seed=0)


def other_metrics(found: list[Standing], anchor: str) -> Table | None:
    """Return the table of the metrics that are not in the first table; None where there are no
    more that all have."""
    keys = [key for key in found[0].test if key not in KEYS and all(
        key in one.test for one in found)]
    if not keys:
        return None
    rows = tuple((Cell(one.name, note=one.kind if one.kind == "baseline" else ""),
                  Cell(one.level, math.inf if one.level == "none" else one.epsilon),
                  *(spread_cell(one.test[key]) for key in keys)) for one in found)
    return Table(
        anchor, "Further test metrics, mean over seeds (± standard deviation), in the same order.",
        (*plain(["model", "epsilon"]), *(Column(key, ("standard deviation",), "high")
                                         for key in keys)),
        rows, tuple(one.level for one in found)).marked()


def metrics_table(found: list[Standing], against: str, anchor: str) -> Table:
    """Return the table of all models, the best first, with the best of each column and of each
    level of privacy marked."""
    keys = [key for key in KEYS if all(key in one.test for one in found)]
    columns = [Column("model"), Column("epsilon"), Column("seeds"),
               *(Column(key, ("standard deviation",), "high") for key in keys),
               Column(f"validation {MAIN}", ("standard deviation",))]
    if against:
        columns.append(Column(f"{MAIN} against {against}", ("low", "high")))
    rows = []
    for one in found:
        # The largest epsilon is sorted last: no budget is no privacy.
        row = [Cell(one.name, note="baseline" if one.kind == "baseline" else
                    f"{BELOW} below what needs less trust" if one.below else ""),
               Cell(one.level, math.inf if one.level == "none" else one.epsilon),
               number(None if one.kind == "baseline" else one.seeds, "d"),
               *(spread_cell(one.test[key]) for key in keys), spread_cell(one.validation)]
        if against:
            row.append(_compared(one))
        rows.append(tuple(row))
    return Table(
        anchor, "Test metrics, mean over seeds (± standard deviation), sorted by "
        f"{MAIN}. Bold with a star: the best of the column; underlined: the best at its epsilon"
        + (f". Against {against}: paired difference, with a 95% interval" if against
           else "") + ".",
        tuple(columns), tuple(rows), tuple(one.level for one in found)).marked()


def settings_table(found: list[Standing], differing: Sequence[str], anchor: str) -> Table:
    """Return the table of what models are: a line a label, a column for what differs.

    differing: the heads of the cells of `Standing.what`.
    """
    rows = [(Cell(one.name), *(Cell(text, leading(text)) for text in one.what))
            for one in found if one.what]
    return Table(anchor, "What the runs of each model are, where they differ.",
                 plain(["model", *differing]), tuple(rows))


def spread_cell(values: tuple[float, ...]) -> Cell:
    """Return the cell of a mean over seeds, with the standard deviation beside it."""
    if not values:
        return Cell(NONE)
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    # Baselines are computed once a run and mostly alike.
    note = "" if deviation is None or deviation < 0.00005 else f"± {deviation:.4f}"
    return number(float(np.mean(values)), ".4f", deviation, note=note)


def _compared(one: Standing) -> Cell:
    if one.difference is None:
        return Cell("no seed in common" if one.rival else "")
    mean, low, high = one.difference
    return Cell(f"{mean:+.4f}", mean, (low, high), f"[{low:+.4f}, {high:+.4f}]")


def findings(found: list[Standing]) -> Iterable[str]:
    """Yield what the table comes down to, in sentences: the best with and without a budget, beside
    the best baseline."""
    lines = [one for one in found if one.kind == "baseline"]
    for kind in ("open", "private"):
        ours = [one for one in found if one.kind == kind]
        if not ours:
            continue
        best = ours[0]
        text = f"Best {KINDS[kind]}: {best.name}, test NDCG@50 {best.mean:.4f}"
        if best.low is not None and best.high is not None:
            text += f" (95% interval {best.low:.4f} to {best.high:.4f})"
        if lines:
            gain = best.mean - lines[0].mean
            text += (f", {abs(gain):.4f} {'above' if gain > 0 else 'below'} the best baseline, "
                     f"{lines[0].name} ({lines[0].mean:.4f})")
        yield text + "."
