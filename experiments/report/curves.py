"""Charts of lines: accuracy over epsilon, over rounds and over the number of users."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report.blocks import Anchors, Cell, Chart, Column, Table, Text, number, plain
from experiments.report.standings import Standing, epsilon_of
from experiments.report.tables import Runs, find_runs, read_record

# Curves that are shown at first; more than that nobody tells apart.
SERIES = 4
_INTERVAL = ("low", "high")


def epsilon_chart(
    found: Sequence[Standing], against: str, anchors: Anchors, title: str
) -> Chart | None:
    """Return the chart of accuracy over epsilon; None where no run was asked for a budget."""
    curves: dict[str, list[Standing]] = {}
    for one in found:
        if one.epsilon is not None:
            curves.setdefault(one.series or one.name, []).append(one)
    if not curves:
        return None
    place = _places({one.epsilon for points in curves.values() for one in points
                     if one.epsilon is not None})
    # The best of its points speaks for a curve; whom all are compared with is always there.
    order = sorted(curves, key=lambda name: (
        name != against, -max(one.mean for one in curves[name])))
    series = [{
        "name": name, "shown": number_ < SERIES,
        "points": [{"x": place[one.epsilon], "y": one.mean, "low": one.low, "high": one.high,
                    "says": f"{name}, epsilon {_epsilon(one.epsilon)}: "
                            + one.says().partition(": ")[2]}
                   for one in sorted(curves[name], key=lambda one: one.epsilon or 0)
                   if one.epsilon is not None],
    } for number_, name in enumerate(order)]
    flat = [one for one in found if one.epsilon is None]
    lines = [one for kind in ("open", "baseline")
             for one in [line for line in flat if line.kind == kind]]
    first = {next((one.name for one in flat if one.kind == kind), "") for kind in (
        "open", "baseline")}
    rows = [(Cell(name), Cell(_epsilon(one.epsilon), one.epsilon),
             number(one.mean, ".4f", one.low, one.high, note=_between(one.low, one.high)))
            for name in order for one in sorted(curves[name], key=lambda one: one.epsilon or 0)]
    rows += [(Cell(one.name, note="without noise"), Cell("none", math.inf),
              number(one.mean, ".4f", one.low, one.high, note=_between(one.low, one.high)))
             for one in lines]
    best = [max(points, key=lambda one: one.mean) for points in curves.values()]
    top = max(best, key=lambda one: one.mean)
    anchor = anchors.new(title)
    caption = ("Test NDCG@50 over the privacy budget, mean over seeds. Bands: 95% bootstrap "
               "interval over users and seeds. Dashed: models and baselines without noise.")
    return Chart(
        anchor, title, "lines", caption,
        f"{len(curves)} curves over epsilon {', '.join(_epsilon(e) for e in place)}; the highest "
        f"point is {top.says()}. All points are in the table below the chart.",
        {"x": {"label": "epsilon (smaller is more private)",
               "ticks": [[at, _epsilon(epsilon)] for epsilon, at in place.items()]},
         "y": {"label": "test NDCG@50"}, "series": series,
         "lines": [{"name": one.name, "value": one.mean, "shown": one.name in first,
                    "says": one.says()} for one in lines]},
        Table(f"{anchor}-data", caption, (Column("model"), Column("epsilon"),
                                          Column("test ndcg@50", _INTERVAL)), tuple(rows)))


def _places(values: Iterable[float]) -> dict[float, float]:
    """Place of each epsilon on the axis: its logarithm, and infinity a step behind the last."""
    ordered = sorted(values)
    finite = [value for value in ordered if math.isfinite(value)]
    at = {value: math.log10(value) for value in finite}
    if len(finite) < len(ordered):
        last = at[finite[-1]] if finite else 0.0
        at[math.inf] = last + (max(0.3, (last - at[finite[0]]) / 4) if finite else 0.0)
    return at


def _epsilon(value: float | None) -> str:
    return "none" if value is None else "∞" if math.isinf(value) else f"{value:g}"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.4f}, {high:.4f}]"


def rounds_chart(runs: Runs, anchors: Anchors, title: str) -> Chart | None:
    """Return the chart of validation over rounds; None where no run was judged more than once."""
    series: list[dict[str, Any]] = []
    rows = []
    for label, records in runs.records.items():
        curves = [r["validation_by_round"] for r in records if len(r["validation_by_round"]) > 1]
        if not curves:
            continue
        length = min(len(curve) for curve in curves)
        points = []
        for place in range(length):
            values = [curve[place][1] for curve in curves]
            at, mean = curves[0][place][0], float(np.mean(values))
            low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
            says = f"{label}, round {at}: {mean:.4f}"
            if low is not None and high is not None:
                says += f", seeds from {low:.4f} to {high:.4f}"
            points.append({"x": at, "y": mean, "low": low, "high": high, "says": says})
            rows.append((Cell(label), number(at, "d"), number(
                mean, ".4f", low, high, note=_between(low, high))))
        series.append({"name": label, "points": points})
    if not series:
        return None
    series.sort(key=lambda one: -max(point["y"] for point in one["points"]))
    for place, one in enumerate(series):
        one["shown"] = place < SERIES
    best = max(series[0]["points"], key=lambda point: point["y"])
    anchor = anchors.new(title)
    caption = ("Validation NDCG@50 by round, mean over seeds, as far as all seeds go. Bands: "
               "lowest to highest seed. Private runs are judged after their last round alone, and "
               "have no curve.")
    return Chart(
        anchor, title, "lines", caption,
        f"{len(series)} training curves; the highest point is {best['says']}. All points are in "
        "the table below the chart.",
        {"x": {"label": "round", "whole": True}, "y": {"label": "validation NDCG@50"},
         "series": series, "lines": [], "small": True},
        Table(f"{anchor}-data", caption, (Column("model"), Column("round"),
                                          Column("validation ndcg@50", ("lowest", "highest"))),
              tuple(rows)))


def scaling_chart(
    folders: list[Path], against: str, anchors: Anchors, title: str
) -> Chart | Text:
    """Return the chart of accuracy, relative to that of `against` on the same users, over the
    number of users; words where there is nothing to compare. Raises UserError where the folders
    hold no run."""
    found: dict[_Size, list[tuple[int, float]]] = {}
    # One folder after another: the same labels on other data are other runs.
    for seeds in (s for folder in folders for s in find_runs([folder]).values()):
        for seed, folder in seeds.items():
            record = read_record(folder)
            data = record["dataset"]
            found.setdefault(_Size(
                record["series"] or record["label"], data["name"].partition(":")[0],
                epsilon_of(record), data["users"]), []).append(
                (seed, record["metrics"]["test"]["ndcg@50"]))
    several = len({size.epsilon for size in found if size.method != against}) > 1
    points: dict[tuple[str, str], list[dict[str, Any]]] = {}
    rows = []
    for size in sorted((s for s in found if s.method != against), key=_Size.place):
        # The rival at the same epsilon, or the one that has none.
        rival = found.get(replace(size, method=against)) or found.get(
            replace(size, method=against, epsilon=None), [])
        control = dict(rival)
        ratio = np.array([v / control[s] for s, v in found[size] if s in control])
        if not len(ratio):
            continue
        mean = float(ratio.mean())
        error = float(ratio.std(ddof=1)) / len(ratio) ** 0.5 if len(ratio) > 1 else None
        low, high = (None, None) if error is None else (mean - error, mean + error)
        spread = "" if error is None else f" ± {error:.3f}"
        epsilon = f", epsilon {_epsilon(size.epsilon)}" if several else ""
        name = f"{size.method} ({size.data}){epsilon}"
        points.setdefault((size.data, name), []).append({
            "x": math.log10(size.users), "y": mean, "low": low, "high": high,
            "says": f"{name}, {size.users} users: {mean:.3f}{spread}"})
        rows.append((Cell(size.method), Cell(size.data), Cell(_epsilon(size.epsilon)), number(
            size.users, "d"), number(mean, ".4f", low, high, note=spread.strip())))
    if not points:
        return Text((f"No run below {', '.join(map(str, folders))} has a run of "
                     f"{against or 'another label (--against)'} on the same users beside it.",))
    anchor = anchors.new(title)
    caption = (f"Test NDCG@50 relative to {against} on the same users at the same epsilon; mean "
               "over seeds, bands: standard error over seeds.")
    sizes = sorted({size.users for size in found})
    return Chart(
        anchor, title, "lines", caption,
        f"{len(points)} curves over the number of users, from {sizes[0]} to {sizes[-1]}. All "
        "points are in the table below the chart.",
        {"x": {"label": "users", "ticks": [[math.log10(u), f"{u:,}"] for u in sizes]},
         "y": {"label": f"test NDCG@50 / {against}"},
         "series": [{"name": name, "shown": place < SERIES, "points": found_points}
                    for place, ((_, name), found_points) in enumerate(points.items())],
         "lines": [{"name": against, "value": 1.0, "shown": True, "says": f"{against}: 1"}]},
        Table(f"{anchor}-data", caption, (*plain(["method", "data", "epsilon", "users"]),
                                          Column("relative ndcg@50", _INTERVAL)), tuple(rows)))


@dataclass(frozen=True)
class _Size:
    """What runs have in common that are a point of the chart over users, but for their seeds."""

    method: str
    data: str
    epsilon: float | None
    users: int

    def place(self) -> tuple[str, str, float, int]:
        """In which order points are drawn and listed."""
        return self.method, self.data, math.inf if self.epsilon is None else self.epsilon, (
            self.users)
