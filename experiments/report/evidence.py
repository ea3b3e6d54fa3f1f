"""What lies beside the runs, as sections of a page: audits, and comparisons of ways of summing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.report.bars import WAYS
from experiments.report.blocks import (
    NONE,
    Anchors,
    Behind,
    Cell,
    Chart,
    Part,
    Section,
    Table,
    Text,
    Tone,
    plain,
)
from experiments.report.from_markdown import heading_of, parts_of
from experiments.report.sections import Found, audit_text
from privfedmm.audit import compare

OPEN = 2  # audits that are shown open; of more, each is behind its name


def audit_section(found: list[Found], anchors: Anchors) -> Section | None:
    """Return the section of all audits: a table of verdicts, then each audit; None without any."""
    if not found:
        return None
    section = Section(anchors.new("audits"), "Audits")
    if len(found) > 1:
        section.parts.append(_verdicts(found, anchors))
    for one in found:
        section.parts.append(Behind(f"Audit of {one.name}", tuple(_audit(one, anchors)),
                                    len(found) <= OPEN))
    return section


def _verdicts(found: list[Found], anchors: Anchors) -> Table:
    rows = []
    for one in found:
        claim, empirical = one.value["claimed"], one.value["empirical"] or {}
        estimate = (empirical.get("estimate") or {}).get("value")
        rows.append((
            Cell(one.name),
            Cell("none" if claim["epsilon"] is None else f"{claim['epsilon']:.4g}",
                 claim["epsilon"]),
            Cell(NONE if estimate is None else f"{estimate:.4g}", estimate),
            Cell(_verdict(one.value)), Cell("; ".join(one.value["faults"]) or NONE)))
    return Table(anchors.new("audit-verdicts"), "Every audit, and what it came to.",
                 plain(["run", "claimed epsilon", "estimate", "verdict", "faults"]), tuple(rows))


def _verdict(value: Mapping[str, Any]) -> str:
    if not value["passed"]:
        return "failed"
    return "nothing claimed" if value["claimed"]["epsilon"] is None else "passed"


def _audit(one: Found, anchors: Anchors) -> list[Part]:
    parts = parts_of(audit_text(one), f"Audit of {one.name}", anchors)
    tones: dict[str, Tone] = {"failed": "bad", "passed": "good"}
    for place, part in enumerate(parts):
        if isinstance(part, Text):  # the first is claim and verdict
            parts[place] = Text(part.lines, part.listed, tones.get(_verdict(one.value), ""))
            break
    out: list[Part] = []
    for part in parts:
        # The table of the attacks is the one behind their picture.
        if isinstance(part, Table) and {"attack", "AUC"} <= {c.title for c in part.columns}:
            if part.rows:
                out.append(attack_chart(one.value["attacks"], one.name, part, anchors))
        else:
            out.append(part)
    return out


def attack_chart(
    attacks: Mapping[str, Any], name: str, table: Table, anchors: Anchors
) -> Chart:
    """Return the heat table of what each attack finds under each way of summing.

    attacks: as in audit.json. table: all figures of the same cells.
    """
    title = f"Attacks: {name}"
    cells = [{
        "row": cell["attack"], "column": mode, "value": cell["auc"][0],
        "text": f"{cell['auc'][0]:.2f}",
        "small": f"F1 {cell['f1'][0]:.2f} ({cell['chance_f1']:.2f})",
        "says": f"{cell['attack']}, {mode}: AUC {cell['auc'][0]:.3f} "
                f"({cell['auc'][1]:.3f} to {cell['auc'][2]:.3f}), chance "
                f"{cell['chance_auc']:.3f}; F1 {cell['f1'][0]:.3f}, by chance "
                f"{cell['chance_f1']:.3f}" + (
                    "" if cell["within_bound"] in (None, True) else "; above its bound"),
        "alarm": cell["within_bound"] is False,
    } for mode, found in attacks.items() for cell in found.get("cells", [])]
    worst = max(cells, key=lambda cell: cell["value"])
    return Chart(
        anchors.new(title), title, "heat",
        "AUC of telling a client's interactions, or presence, apart: 0.5 is a coin, 1 gives "
        "everything away. Below it F1 of the attacker's best guess, in brackets that of chance. "
        "A dash: the attack has nothing to read there. A thick frame: above what the claim allows.",
        f"{len(cells)} cells of attacks by ways of summing; the worst is {worst['says']}. All "
        "cells are in the table below the chart.",
        {"rows": list(dict.fromkeys(cell["row"] for cell in cells)),
         "columns": list(dict.fromkeys(cell["column"] for cell in cells)),
         "low": 0.5, "high": 1.0, "cells": cells}, table)


def comparison_sections(found: list[Found], anchors: Anchors) -> list[Section]:
    """Return a section for each comparison: what each way of summing sends, and its tables."""
    out = []
    for one in found:
        text = compare.markdown(one.value)
        title = heading_of(text)
        section = Section(anchors.new(title), title)
        tables = parts_of(text, f"Ways of summing, {one.name}", anchors, (
            "Accuracy, traffic and what the server reads of a client, by way of summing.",
            "Rounds from which clients vanish."))
        first = next(part for part in tables if isinstance(part, Table))
        section.parts.append(_traffic(one.value["modes"], first, anchors))
        section.parts += tables
        out.append(section)
    return out


def _traffic(modes: Mapping[str, Any], table: Table, anchors: Anchors) -> Chart:
    title = "Traffic by way of summing"
    bars = []
    for mode, row in modes.items():
        ways = {"sent": row["bytes_up_per_client_round"] / 1024,
                "received": row["bytes_down_per_client_round"] / 1024}
        bars += [{"name": mode, "group": way, "value": value,
                  "label": f"{sum(ways.values()):,.0f}",
                  "says": f"{mode}: {value:,.1f} KiB {way}, {sum(ways.values()):,.1f} in all"}
                 for way, value in ways.items()]
    anchor = anchors.new(title)
    rows = tuple((Cell(mode), *(Cell(f"{bar['value']:,.1f}", float(bar["value"]))
                                for bar in bars if bar["name"] == mode)) for mode in modes)
    caption = f"KiB that one client sends and receives in a round, by {table.columns[0].title}."
    return Chart(
        anchor, title, "bars", caption,
        "; ".join(str(bar["says"]) for bar in bars) + ".",
        {"x": {"label": "KiB a client and round"}, "groups": WAYS,
         "stacked": True, "most": len(bars), "bars": bars},
        Table(f"{anchor}-data", caption, plain(["mode", "KiB sent", "KiB received"]), rows))
