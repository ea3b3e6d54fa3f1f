"""The sentence that an audit ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ALL = 0.95  # an F1 from which on hardly an interaction is missed or made up


def verdict(result: Mapping[str, Any], way: str) -> str:
    """Return what an audit comes to. A run that claims nothing has nothing to pass.

    way: how the run sums updates, by name; its attacks say what is given away instead.
    """
    if not result["passed"]:
        return "FAILED: " + "; ".join(result["faults"])
    if result["claimed"]["epsilon"] is not None:
        return "passed"
    return f"done: nothing is claimed, so there is nothing to pass{_given_away(result, way)}"


def _given_away(result: Mapping[str, Any], way: str) -> str:
    from privfedmm.audit.attack_matrix import GROUP, PRESENCE  # late: it is much to load

    found = result["attacks"].get(way)
    if not found or not found.get("cells"):
        why = "; --parts attacks shows what uploads give away" if not found else ""
        return why
    every = [cell for cell in found["cells"] if cell["attack"] not in (GROUP, PRESENCE)]
    cells = [cell for cell in every if cell["view"] == "upload"] or every or found["cells"]
    best = max(cells, key=lambda cell: cell["f1"][0] - cell["chance_f1"])
    f1, chance = best["f1"][0], best["chance_f1"]
    what = f"{way} uploads" if best["view"] == "upload" else f"released {way} sums"
    if f1 >= _ALL and best["view"] == "upload":
        return f": {what} give every interaction away (F1 {f1:.2f})"
    return f": {what} give away F1 {f1:.2f} of '{best['attack']}', where chance gives {chance:.2f}"
