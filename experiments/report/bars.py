"""Charts of bars: models by accuracy, what they cost, what they send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.report.blocks import Anchors, Cell, Chart, Column, Table, number, plain
from experiments.report.standings import KINDS, Kind, Standing
from experiments.report.tables import Runs

BARS = 14  # bars that are shown at first
WAYS = [{"name": "sent", "look": 0}, {"name": "received", "look": 1}]
_LOOKS: dict[Kind, int] = {"private": 0, "open": 1, "baseline": 6}
_BASELINES = "baselines have none, because their ranks are not kept"


def methods_chart(found: Sequence[Standing], anchors: Anchors, title: str) -> Chart:
    """Return the bars of all models, the best first, with the interval of each."""
    anchor = anchors.new(title)
    lines = [one for one in found if one.kind == "baseline"]
    caption = ("Test NDCG@50, mean over seeds, the best first. Thin lines: 95% bootstrap interval "
               f"over users and seeds{'; ' + _BASELINES if lines else ''}.")
    data: dict[str, Any] = {
        "x": {"label": "test NDCG@50"},
        "groups": [{"name": KINDS[kind], "look": _LOOKS[kind]} for kind in KINDS
                   if any(one.kind == kind for one in found)],
        "most": BARS,
        "bars": [{"name": one.name, "group": KINDS[one.kind], "value": one.mean, "low": one.low,
                  "high": one.high, "label": f"{one.mean:.4f}", "says": one.says()}
                 for one in found]}
    if lines:
        data["line"] = {"value": lines[0].mean, "name": f"best baseline, {lines[0].name}"}
    rows = [(Cell(one.name), Cell(KINDS[one.kind]), number(
        one.mean, ".4f", one.low, one.high,
        note="" if one.low is None else f"[{one.low:.4f}, {one.high:.4f}]")) for one in found]
    return Chart(
        anchor, title, "bars", caption,
        f"{len(found)} bars, the best first: {'; '.join(one.says() for one in found[:3])}. All "
        "are in the table below the chart.", data,
        Table(f"{anchor}-data", caption, (*plain(["model", "kind"]), Column(
            "test ndcg@50", ("low", "high"), "high")), tuple(rows)).marked())


def _mean(records: list[dict[str, Any]], *path: str) -> float:
    out = []
    for record in records:
        value: Any = record["costs"]
        for key in path:
            value = value[key]
        out.append(value)
    return float(np.mean(out))


def time_chart(runs: Runs, anchors: Anchors, title: str) -> Chart:
    """Return the bars of training seconds, the shortest first."""
    anchor = anchors.new(title)
    order = sorted(((_mean(rs, "seconds", "train"), label) for label, rs in runs.records.items()))
    caption = ("Seconds of training of a whole run, mean over seeds, the shortest first. In a "
               "simulation one process does the work of all clients.")
    return Chart(
        anchor, title, "bars", caption,
        f"{len(order)} bars, from {order[0][1]} with {order[0][0]:.2f} seconds to {order[-1][1]} "
        f"with {order[-1][0]:.2f}.",
        {"x": {"label": "training seconds"}, "most": BARS,
         "groups": [{"name": "training", "look": 0}],
         "bars": [{"name": label, "group": "training", "value": seconds,
                   "label": f"{seconds:.2f}", "says": f"{label}: {seconds:.2f} seconds"}
                  for seconds, label in order]},
        Table(f"{anchor}-data", caption, (Column("model"), Column("training seconds", (), "low")),
              tuple((Cell(label), number(seconds, ".2f")) for seconds, label in order)).marked())


def traffic_chart(runs: Runs, anchors: Anchors, title: str) -> Chart:
    """Return the stacked bars of what one client sends and receives in a whole run, in KiB."""
    anchor = anchors.new(title)
    found = []
    for label, records in runs.records.items():
        rounds = float(np.mean([record["rounds_run"] for record in records]))
        up = _mean(records, "bytes_up_per_client_round") * rounds / 1024
        down = _mean(records, "bytes_down_per_client_round") * rounds / 1024
        found.append((up + down, up, down, rounds, label))
    found.sort()
    caption = ("KiB that one client sends and receives in a whole run: those of a round, times the "
               "rounds; mean over seeds, the least first.")
    bars = [{"name": label, "group": way, "value": value, "label": f"{total:,.0f}",
             "says": f"{label}: {value:,.0f} KiB {way}, {total:,.0f} in all"}
            for total, up, down, _, label in found
            for way, value in (("sent", up), ("received", down))]
    return Chart(
        anchor, title, "bars", caption,
        f"{len(found)} bars, from {found[0][4]} with {found[0][0]:,.0f} KiB to {found[-1][4]} with "
        f"{found[-1][0]:,.0f}.",
        {"x": {"label": "KiB a client"}, "groups": WAYS, "stacked": True,
         "most": BARS, "bars": bars},
        Table(f"{anchor}-data", caption, (
            *plain(["model", "rounds"]), Column("KiB sent", (), "low"),
            Column("KiB received", (), "low"), Column("KiB in all", (), "low")),
            tuple((Cell(label), number(rounds, ".0f"), number(up, ",.1f"), number(down, ",.1f"),
                   number(total, ",.1f")) for total, up, down, rounds, label in found)).marked())


def costs_table(runs: Runs, anchor: str) -> Table:
    """Return rounds, noise, seconds, traffic of a round and memory of every label."""
    rows = []
    for label, records in runs.records.items():
        releases = records[0]["privacy"]["releases"]
        noise = releases[0]["noise_multiplier"] if releases else None
        rows.append((
            Cell(label), number(float(np.mean([r["rounds_run"] for r in records])), "g"),
            number(noise, ".3f"), number(_mean(records, "seconds", "train"), ".2f"),
            number(_mean(records, "bytes_up_per_client_round") / 1024, ",.1f"),
            number(_mean(records, "bytes_down_per_client_round") / 1024, ",.1f"),
            number(_mean(records, "peak_memory_bytes") / 2**20, ",.0f")))
    rows.sort(key=lambda row: row[3].value or 0.0)
    return Table(
        anchor, "Costs, mean over seeds, the fastest first. Traffic is of one client in one round.",
        (Column("model"), Column("rounds"), Column("noise multiplier"),
         Column("training seconds", (), "low"), Column("KiB up", (), "low"),
         Column("KiB down", (), "low"), Column("peak MiB", (), "low")), tuple(rows)).marked()
