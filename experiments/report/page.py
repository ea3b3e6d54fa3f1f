"""One self-contained page: curve over epsilon, tables, costs, and the runs behind every figure."""

from __future__ import annotations

import base64
import hashlib
import html
import math
from dataclasses import replace
from importlib import resources
from pathlib import Path

from experiments.report.across import across_table, notes, rivals
from experiments.report.bars import costs_table, methods_chart, time_chart, traffic_chart
from experiments.report.blocks import (
    NONE,
    Anchors,
    Behind,
    Cell,
    Part,
    Section,
    Table,
    Text,
    number,
    plain,
)
from experiments.report.curves import epsilon_chart, rounds_chart, scaling_chart
from experiments.report.evidence import audit_section, comparison_sections
from experiments.report.finding import find
from experiments.report.gallery import gallery
from experiments.report.render import contents_html, section_html
from experiments.report.sections import Found, apart, audits, comparisons
from experiments.report.standings import (
    findings,
    metrics_table,
    other_metrics,
    settings_table,
    standings,
)
from experiments.report.tables import Runs, preface
from experiments.report.worst import worst_table

# In the order in which they need each other; vendor/README.md says what they are.
SCRIPTS = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "vendor/sortable.min.js", "marks.js",
           "charts.js", "page.js")
STYLES = ("page.css", "print.css")
_NOTES = 4  # more of them are shown on demand
_NOTE = (
    "Intervals: percentile bootstrap over users and seeds, of the paired difference where two are "
    "compared (at the same epsilon, where the rival is a curve). Baselines have no noise; what "
    "their server sees stands in the record.")


def page(
    folders: list[Path], against: str, title: str, scaling: list[Path],
    gallery_users: int | None = None
) -> str:
    """Return HTML that loads nothing from anywhere. Raises UserError as the table does.

    gallery_users: how many users' items are shown, from a run of the best label; 0 for none, None
    for a few where the users are made up.
    """
    return document(title, sections_of(folders, against, scaling, gallery_users))


def sections_of(
    folders: list[Path], against: str, scaling: list[Path], gallery_users: int | None = None
) -> list[Section]:
    """Return the sections of the page of these runs: of several data sets a table across them, then
    those of each. Raises UserError as the table does."""
    found, anchors = find(folders), Anchors()
    every = Runs.each(found)
    compared = rivals(every, against)
    *own, beside = apart([*comparisons(folders), *audits(folders)], every)
    sized = [] if not scaling else [
        Section(anchors.new("users"), "Accuracy against number of users", [
            scaling_chart(scaling, against, anchors, "Relative NDCG@50 over users")])]
    if len(every) == 1:
        return _of_data(every[0], against, anchors, own[0], sized, gallery_users)
    out = [Section(anchors.new("across"), "Across data sets", [
        across_table(every, anchors.new("across-table")),
        Text(tuple(notes(every, found.left_out)), listed=True)])]
    if (worst := worst_table(every, anchors.new("worst-table"))).rows:
        out.append(Section(anchors.new("worst"), "By the worst data set", [worst]))
    out += sized
    for runs, rival, more in zip(every, compared, own, strict=True):
        out += [replace(section, title=f"{runs.data['name']}: {section.title}")
                for section in _of_data(runs, rival, anchors, more, [], gallery_users)]
    return [*out, *_beside(beside, anchors)]


def _of_data(
    runs: Runs, against: str, anchors: Anchors, beside: list[Found], sized: list[Section],
    gallery_users: int | None,
) -> list[Section]:
    """The sections of one data set. beside: audits and comparisons of its runs. sized: what stands
    after accuracy against privacy."""
    found = standings(runs, against)
    out = [Section(anchors.new("summary"), "Summary", [
        Text(tuple(findings(found)), listed=True), *_preface(runs)])]
    if curve := epsilon_chart(found, against, anchors, "Test NDCG@50 over epsilon"):
        out.append(Section(anchors.new("privacy"), "Accuracy against privacy", [curve]))
    out += sized
    out.append(Section(anchors.new("models"), "Models", [
        methods_chart(found, anchors, "Models by accuracy"),
        metrics_table(found, against, anchors.new("metrics")), Text((_NOTE,)),
        *([Behind("Further metrics", (others,))]
          if (others := other_metrics(found, anchors.new("further-metrics"))) else []),
        *([Behind("Settings in which the models differ", (
            settings_table(found, runs.columns, anchors.new("settings")),))]
          if len(runs.columns) > 1 else [])]))
    if rounds := rounds_chart(runs, anchors, "Validation NDCG@50 by round"):
        out.append(Section(anchors.new("training"), "Training curves", [rounds]))
    out.append(Section(anchors.new("costs"), "Costs", [
        time_chart(runs, anchors, "Training time"), traffic_chart(runs, anchors, "Traffic"),
        costs_table(runs, anchors.new("costs-table"))]))
    out += _beside(beside, anchors)
    best = next(one for one in found if one.kind != "baseline")
    seeds = runs.folders[best.name]
    if shown := gallery(seeds[min(seeds)], gallery_users):
        out.append(Section(anchors.new("gallery"), "What users have, and what they are shown",
                           shown))
    out.append(Section(anchors.new("runs"), "Runs behind the figures",
                       [_sources(runs, anchors.new("runs-table"))]))
    return out


def _beside(found: list[Found], anchors: Anchors) -> list[Section]:
    audited = audit_section([one for one in found if one.is_audit], anchors)
    return [*comparison_sections([one for one in found if not one.is_audit], anchors),
            *([audited] if audited else [])]


def _preface(runs: Runs) -> list[Part]:
    """Data, protocol and claim; then what is marked or left out, on demand where it is much."""
    data, claim, *notes = [text for text in preface(runs) if text]
    out: list[Part] = [Text((data,)), Text((claim,))]
    if notes:
        listed = Text(tuple(notes), listed=True)
        out.append(listed if len(notes) <= _NOTES else Behind(
            f"{len(notes)} notes: below what needs less trust, or left out", (listed,)))
    return out


def document(title: str, sections: list[Section]) -> str:
    """Return the whole page. Its own policy lets a browser run the scripts that stand in it and
    nothing else, and load nothing."""
    scripts = [_static(name) for name in SCRIPTS]
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts)
    policy = (f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
              "img-src data: blob:; base-uri 'none'; form-action 'none'")
    contents = contents_html(sections)
    return "\n".join([
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">',
        f"<title>{html.escape(title)}</title>",
        *(f"<style>{_static(name)}</style>" for name in STYLES),
        '</head><body><a class="skip" href="#content">Skip to content</a>',
        f'<header><h1>{html.escape(title)}</h1><button type="button" id="theme" hidden></button>'
        "</header>",
        "<noscript><p class=\"verdict\">Charts, sorting and pictures to download need JavaScript, "
        "all of which stands in this page. Tables are whole without it.</p></noscript>",
        f'<div class="page"><nav aria-label="Contents"><details open><summary>Contents</summary>'
        f'{contents}</details></nav><main id="content">',
        *(section_html(section) for section in sections),
        "</main></div>",
        *(f"<script>{text}</script>" for text in scripts),
        "</body></html>\n"])


def _static(name: str) -> str:
    return (resources.files("experiments.report") / "static" / name).read_text(encoding="utf-8")


def _sources(runs: Runs, anchor: str) -> Table:
    rows = []
    for label, seeds in runs.folders.items():
        for (seed, folder), record in zip(seeds.items(), runs.records[label], strict=True):
            privacy = record["privacy"]
            claimed, digest = privacy["epsilon"], privacy.get("ledger_digest") or NONE
            rows.append((
                Cell(label), number(seed, "d"), Cell("/".join(folder.parts[-2:])),
                Cell(f"{claimed:g}", claimed) if claimed else Cell("none", math.inf),
                number(privacy.get("epsilon_spent"), ".4f"), Cell(privacy["noise_source"]),
                Cell(digest[:12])))
    return Table(anchor, "Every run, with what its ledger spent and ends with.", plain(
        ["model", "seed", "run folder", "epsilon", "spent", "noise source", "ledger ends with"]),
        tuple(rows))
