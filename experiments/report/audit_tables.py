"""What an audit found, for people: on the terminal, and as a section of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from privfedmm.audit.budget import budget_tables
from privfedmm.front.verdict import verdict

_COLUMNS = ("mode", "attack", "view", "AUC", "chance", "bound", "precision", "recall", "F1",
            "chance F1")
_READING = (
    "Intervals are of 95%, over users: of twenty, one or so misses what it is about. View: "
    "`upload` is what the server received of one client, `sum` what was released of all. Chance: "
    "of an adversary without the target; of F1, of as many guesses at random. Bound: the largest "
    "AUC that the claim of the whole run allows on a fair coin; what the other clients give away, "
    "popularity above all, comes on top. Rows of the sum: interactions from the lengths of the "
    "sum's rows. Differencing: two releases that differ by one client, all others alike; it needs "
    "no more than sums, so hiding uploads is no answer to it, and noise is.")


def tables(result: Mapping[str, Any]) -> list[Table | str]:
    """Return the parts of an audit for people: budget, canaries and attacks."""
    out = budget_tables(dict(result))
    if result["empirical"] is not None:
        out += _empirical(result["empirical"])
    if result["attacks"]:
        out += [_matrix(result["attacks"]), *_remarks(result["attacks"])]
    return out


def _matrix(attacks: Mapping[str, Any]) -> Table:
    """One line an attack, one column a mode; the intervals are in audit.json and in a report."""
    table = Table(title="attacks: AUC, F1 (F1 by chance)")
    cells = {(mode, cell["attack"]): cell
             for mode, found in attacks.items() for cell in found.get("cells", [])}
    modes = list(dict.fromkeys(mode for mode, _ in cells))
    for column in ("attack", *modes):
        table.add_column(column)
    for attack in dict.fromkeys(name for _, name in cells):
        row = [cells.get((mode, attack)) for mode in modes]
        table.add_row(attack, *(
            "-" if c is None else f"{c['auc'][0]:.2f}, {c['f1'][0]:.2f} ({c['chance_f1']:.2f})"
            for c in row))
    return table


def _empirical(found: Mapping[str, Any]) -> list[Table | str]:
    if found["skipped"]:
        return [f"empirical audit: skipped, {found['skipped']}"]
    table = Table(title=f"empirical audit: {found['canaries']} canaries, {found['rounds']} rounds")
    for column in ("figure", "value"):
        table.add_column(column)
    for name, value in empirical_rows(found):
        table.add_row(name, value)
    return [table, *found["notes"]]


def empirical_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return figure and value of each line of an empirical part that was not skipped."""
    levels = found["levels"]
    rows = [("claimed epsilon, delta", f"{found['claimed']:.4g}, {found['delta']:.3g}"),
            ("estimate", _interval(found["estimate"]))]
    for name, low in found["bounds_95"].items():
        strict = found["bounds_verdict"].get(name)
        rows.append((f"lower bound {name}",
                     f"{_number(low)} at 95%, {_number(strict)} at {1 - levels[name]:.1%}"))
    rows += [(f"lower bound {name}", f"none: {why}")
             for name, why in found["bounds_missing"].items()]
    return [
        *rows, ("AUC", _interval(found["auc"])),
        ("TPR at 1% FPR", _interval(found["tpr_at_1_percent_fpr"])),
        ("right guesses", f"{found['right_guesses']} of {found['guesses']}"),
        *_noise_rows(found),
        ("audit seed", str(found["audit_seed"])),
        ("verdict", ("PASS" if found["passed"] else "FAIL") + ": " + found["verdict"]),
        ("chance that an honest run fails", f"at most {found['joint_false_alarm']:.0%}, "
         "divided between the bounds of the verdict"),
    ]


def _noise_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the tests of the noise itself gave; audits of earlier versions made none."""
    tests = found.get("noise_tests", {})
    if not tests:
        return [("tests of the noise itself", "none was made")]
    worst = sorted(tests, key=lambda name: tests[name])[:3]
    text = (f"{len(tests)} made, at {1 - found['levels']['noise']:.1%} together; smallest p: "
            + ", ".join(f"{tests[name]:.2g} ({name})" for name in worst))
    if found["noise_faults"]:
        text += f"; FAILED: {', '.join(found['noise_faults'])}"
    reasons: dict[str, list[str]] = {}
    for name, why in found.get("noise_tests_not_made", {}).items():
        reasons.setdefault(why, []).append(name)
    return [("tests of the noise itself", text), *(
        (f"not made: {', '.join(names)}", why) for why, names in reasons.items())]


def matrix_rows(attacks: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield one line for each mode and attack."""
    for mode, found in attacks.items():
        for cell in found.get("cells", []):
            yield [
                mode, cell["attack"], cell["view"], _three(cell["auc"]),
                f"{cell['chance_auc']:.3f}",
                "-" if cell["bound_auc"] is None else f"{cell['bound_auc']:.3f}"
                + ("" if cell["within_bound"] else " EXCEEDED"),
                _three(cell["precision"]), _three(cell["recall"]), _three(cell["f1"]),
                f"{cell['chance_f1']:.3f}",
            ]


def _remarks(attacks: Mapping[str, Any]) -> list[str]:
    """What is not in the matrix, and why; what the clients did with swapped features."""
    out = [f"{mode}: not attacked, {found['skipped']}"
           for mode, found in attacks.items() if found["skipped"]]
    notes: dict[str, list[str]] = {}
    for mode, found in attacks.items():
        for text in found.get("notes", {}).values():
            notes.setdefault(text, []).append(mode)
        features = found.get("features")
        if features:
            refused = {True: "refused before anything was sent", False: "ACCEPTED",
                       None: features["why"]}[features["refused"]]
            notes.setdefault(f"swapped item features: {refused}", []).append(mode)
    return out + [f"{', '.join(modes)}: {text}" for text, modes in notes.items()]


def markdown(result: Mapping[str, Any], name: str = "", way: str = "plain") -> str:
    """Return an audit as a section of a report.

    way: how the run sums updates, by name.
    """
    claim = result["claimed"]
    claimed = "no epsilon" if claim["epsilon"] is None else (
        f"epsilon {claim['epsilon']:.4g} at delta {claim['delta']:.3g}, {claim['unit']} level, "
        f"trust {claim['trust']}")
    lines = [f"## Audit{f': {name}' if name else ''}", "",
             f"Claimed: {claimed}. Audit {verdict(result, way)}.", ""]
    prices = ", ".join(f"{n} {_number(p['epsilon'])}" for n, p in result["prices"].items())
    if prices:
        lines += [f"Price of the whole ledger by accountant: {prices}.", ""]
    found = result["empirical"]
    if found and found["skipped"]:
        lines += [f"Empirical audit: skipped, {found['skipped']}.", ""]
    elif found:
        lines += ["| empirical audit | |", "|---|---|"]
        lines += [f"| {a} | {b} |" for a, b in empirical_rows(found)]
        lines += ["", *(f"- {note}" for note in found["notes"]), ""]
    if result["attacks"]:
        lines += ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in matrix_rows(result["attacks"])]
        lines += ["", *(f"- {text}" for text in _remarks(result["attacks"])), "", _READING, ""]
    return "\n".join(lines)


def _three(found: list[float]) -> str:
    return f"{found[0]:.3f} [{found[1]:.3f}, {found[2]:.3f}]"


def _interval(found: Mapping[str, float | None] | None) -> str:
    if found is None:
        return "none"
    return f"{_number(found['value'])} [{_number(found['low'])}, {_number(found['high'])}]"


def _number(value: float | None) -> str:
    return "infinite or none" if value is None else f"{value:.4g}"
