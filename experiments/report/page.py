"""One self-contained page: curve over epsilon, tables, costs, and the runs behind every figure."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.report.gallery import gallery
from experiments.report.sections import sections
from experiments.report.tables import (
    FOOTNOTE,
    KEYS,
    Runs,
    find_runs,
    head,
    preface,
    read_record,
    rows,
)
from privfedmm.evaluation import paired_interval

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:96rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}
table{border-collapse:collapse;font-size:.82rem;margin:.6rem 0;display:block;overflow-x:auto}
td,th{border-bottom:1px solid #d5dae0;padding:.25rem .6rem;text-align:left;white-space:nowrap}
th{background:#f3f5f7}figure{margin:1rem 0}figcaption{font-size:.85rem;color:#4a525c}
svg{max-width:100%;height:auto}small{color:#4a525c}
.shelf{display:flex;gap:.6rem;overflow-x:auto}.card{margin:0;width:7rem;font-size:.75rem}
"""
# Colours that remain apart for the colour-blind (Okabe and Ito).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def _style(number: int) -> dict[str, Any]:
    """Of the number-th curve: where the colours begin again, lines are dashed and points square."""
    lap, place = divmod(number, len(_COLOURS))
    return {"color": _COLOURS[place], "linestyle": "-" if lap % 2 == 0 else "--",
            "marker": "o" if lap % 2 == 0 else "s"}


def page(
    folders: list[Path], against: str, title: str, scaling: list[Path], gallery_users: int = 0
) -> str:
    """Return HTML with inline SVG that loads nothing from anywhere. Raises UserError as the table
    does.

    gallery_users: how many users' items are shown, from the first run; 0 for none.
    """
    runs = Runs.read(folders)
    runs.check(against)
    parts = [f"<h1>{html.escape(title)}</h1>"]
    parts += [f"<p>{html.escape(text)}</p>" for text in preface(runs) if text]
    if any(r[0]["dp_epsilon"] for r in runs.records.values()):
        parts += ["<h2>Accuracy against privacy</h2>", _figure(
            _curve(runs), "Test NDCG@50. Bars: 95% bootstrap interval over users and seeds. "
            "Dashed: lines without noise.")]
    if scaling:
        parts += ["<h2>Accuracy against number of users</h2>", _figure(
            _scaling(scaling, against), "Test NDCG@50 relative to "
            f"{against} on the same users at the same epsilon; mean over seeds, bars: standard "
            "error over seeds. One line a method and data set.")]
    parts += ["<h2>Metrics</h2>", _metrics(runs, against),
              f"<small>{html.escape(FOOTNOTE)}</small>"]
    by_round = _rounds(runs)
    if by_round is not None:
        parts += ["<h2>Accuracy against rounds</h2>", _figure(
            by_round, "Validation NDCG@50 by round, mean over seeds, of runs that were judged "
            "more than once. Private runs are judged after their last round alone.")]
    if gallery_users:
        first = next(iter(find_runs(folders).values()))
        parts.append(gallery(first[min(first)], gallery_users))
    parts += ["<h2>Costs</h2>", _costs(runs), "<h2>Runs behind the figures</h2>", _sources(runs)]
    parts += [f"<pre>{html.escape(text)}</pre>" for text in sections(folders)]
    return (f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
            f"<style>{_STYLE}</style><body>" + "\n".join(parts) + "</body></html>\n")


def _table(head: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    cells = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in body)
    return f"<table><tr>{cells}</tr>{lines}</table>"


def _figure(figure: Figure, caption: str) -> str:
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "privfedmm"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return (f"<figure>{svg[svg.index('<svg'):]}<figcaption>{html.escape(caption)}</figcaption>"
            "</figure>")


def _axes(width: float = 8.4) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e8ec")
    return figure, axes


def _legend(figure: Figure) -> None:
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=4)


def _epsilon(record: dict[str, Any]) -> float:
    return float(record["dp_epsilon"])


def _curve(runs: Runs) -> Figure:
    series: dict[str, list[str]] = {}
    for label, records in runs.records.items():
        if records[0]["dp_epsilon"]:
            series.setdefault(records[0]["series"] or label, []).append(label)
    values = sorted({_epsilon(runs.records[n][0]) for names in series.values() for n in names})
    figure, axes = _axes()
    shown = {k: v for k, v in series.items() if len(v) > 1} or series
    for number, (name, labels) in enumerate(shown.items()):
        points = []
        for label in labels:
            gains = runs.gains(label)
            mean, low, high = paired_interval(gains, np.zeros_like(gains), seed=0)
            place = values.index(_epsilon(runs.records[label][0])) + 0.06 * (number - 1.5)
            points.append((place, mean, mean - low, high - mean))
        x, y, down, up = np.array(points).T
        axes.errorbar(x, y, yerr=[down, up], label=name, capsize=2, **_style(number))
    lines = {name: float(np.mean([f["test"]["ndcg@50"] for f in found]))
             for name, found in runs.baselines().items()}
    lines |= {label: float(np.mean([r["metrics"]["test"]["ndcg@50"] for r in records]))
              for label, records in runs.records.items() if not records[0]["dp_epsilon"]}
    height, free = max([*lines.values(), axes.get_ylim()[1]]), -1.0
    for name, value in sorted(lines.items(), key=lambda item: item[1]):
        axes.axhline(value, color="#8a949e", linestyle="--", linewidth=0.8)
        # Names of neighbouring lines are moved apart, upwards.
        free = max(value, free + 0.035 * height)
        axes.annotate(name, (len(values) - 0.62, free), fontsize=7, color="#4a525c",
                      va="center", annotation_clip=False)
    axes.set_xticks(range(len(values)), ["inf" if np.isinf(v) else f"{v:g}" for v in values])
    axes.set_xlim(-0.5, len(values) - 0.65)
    axes.set(xlabel="epsilon", ylabel="test NDCG@50", ylim=(0, None))
    _legend(figure)
    return figure


def _scaling(folders: list[Path], against: str) -> Figure:
    found: dict[tuple[str, str, int], list[tuple[int, float]]] = {}
    # One folder after another: the same labels on other data are other runs.
    for seeds in (s for folder in folders for s in find_runs([folder]).values()):
        for seed, folder in seeds.items():
            record = read_record(folder)
            data = record["dataset"]
            name = data["name"].partition(":")[0]
            found.setdefault((record["series"], name, data["users"]), []).append(
                (seed, record["metrics"]["test"]["ndcg@50"]))
    figure, axes = _axes()
    lines = sorted({(method, name) for method, name, _ in found if method != against})
    for number, (method, name) in enumerate(lines):
        points = []
        for users in sorted(u for m, n, u in found if (m, n) == (method, name)):
            control = dict(found.get((against, name, users), []))
            ratio = np.array([v / control[s] for s, v in found[method, name, users]
                              if s in control])
            if len(ratio):
                error = ratio.std(ddof=1) / len(ratio) ** 0.5 if len(ratio) > 1 else 0.0
                points.append((users, ratio.mean(), error))
        if points:
            x, y, error = np.array(points).T
            axes.errorbar(x, y, yerr=error, capsize=2, label=f"{method} ({name})",
                          **_style(number))
    axes.axhline(1.0, color="#8a949e", linestyle="--", linewidth=0.8)
    axes.set_xscale("log")
    axes.set(xlabel="users", ylabel=f"test NDCG@50 / {against}")
    _legend(figure)
    return figure


def _rounds(runs: Runs) -> Figure | None:
    figure, axes = _axes()
    drawn = 0
    for label, records in runs.records.items():
        curves = [r["validation_by_round"] for r in records if len(r["validation_by_round"]) > 1]
        if not curves:
            continue
        length = min(len(c) for c in curves)
        x = [point[0] for point in curves[0][:length]]
        y = np.mean([[point[1] for point in c[:length]] for c in curves], axis=0)
        axes.plot(x, y, label=label, **{**_style(drawn), "marker": ""})
        drawn += 1
    if not drawn:
        return None
    axes.set(xlabel="round", ylabel="validation NDCG@50", ylim=(0, None))
    _legend(figure)
    return figure


def _metrics(runs: Runs, against: str) -> str:
    body = [[label, *cells] for label, cells in rows(runs, against)]
    for name, lines in runs.baselines().items():
        body.append([f"{name} (baseline)", "", *("" for _ in runs.columns), *(
            f"{np.mean([line['test'][k] for line in lines]):.4f}" for k in KEYS), "",
            *([""] if against else [])])
    return _table(head(runs, against), body)


def _costs(runs: Runs) -> str:
    def mean(records: list[dict[str, Any]], *path: str) -> float:
        out = []
        for record in records:
            value: Any = record["costs"]
            for key in path:
                value = value[key]
            out.append(value)
        return float(np.mean(out))

    body = []
    for label, records in runs.records.items():
        privacy = records[0]["privacy"]
        body.append([
            label, str(records[0]["rounds_run"]),
            "-" if not privacy["releases"] or privacy["releases"][0]["noise_multiplier"] is None
            else f"{privacy['releases'][0]['noise_multiplier']:.3f}",
            f"{mean(records, 'seconds', 'train'):.2f}",
            f"{mean(records, 'bytes_up_per_client_round') / 1024:.1f}",
            f"{mean(records, 'bytes_down_per_client_round') / 1024:.1f}",
            f"{mean(records, 'peak_memory_bytes') / 2**20:.0f}",
        ])
    return _table(["model", "rounds", "noise multiplier", "training seconds",
                   "KiB up a client and round", "KiB down", "peak MiB"], body)


def _sources(runs: Runs) -> str:
    body = []
    for label, seeds in runs.folders.items():
        for (seed, folder), record in zip(seeds.items(), runs.records[label], strict=True):
            privacy = record["privacy"]
            spent = privacy.get("epsilon_spent")
            body.append([
                label, str(seed), "/".join(folder.parts[-2:]),
                "none" if not privacy["epsilon"] else f"{privacy['epsilon']:g}",
                "-" if spent is None else f"{spent:.4f}", privacy["noise_source"],
                (privacy.get("ledger_digest") or "-")[:12],
            ])
    return _table(["model", "seed", "run folder", "epsilon", "spent", "noise source",
                   "ledger ends with"], body)
