"""Figures of a run as pandas frames, and how they look in a terminal and a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd

from privfedmm.front.verdict import verdict


def metrics_frame(record: Mapping[str, Any]) -> pd.DataFrame:
    """Return the metrics of a record and its baselines, one row a model and target (validation,
    ...)."""
    rows = [{"model": record["method"], "target": name, **found}
            for name, found in record["metrics"].items()]
    for baseline, line in record["baselines"].items():
        rows += [{"model": baseline, "target": name, **found}
                 for name, found in line.items() if isinstance(found, Mapping)]
    return pd.DataFrame(rows).set_index(["model", "target"])


def curve_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row a round: costs, and `validation ndcg@50` and the like where it was judged."""
    flat = [{**{k: v for k, v in row.items() if k != "validation"},
             **{f"validation {k}": v for k, v in row.get("validation", {}).items()}}
            for row in rows]
    return pd.DataFrame(flat).set_index("round") if flat else pd.DataFrame()


class Audit:
    """This is the result of an audit.

    passed: whether there is no fault. faults: the faults, each a sentence.
    """

    def __init__(self, result: dict[str, Any], way: str = "plain") -> None:
        """way: how the run sums updates, by name."""
        self.result, self._way = result, way

    @property
    def passed(self) -> bool:
        """Return whether no fault was found; that proves no claim."""
        return bool(self.result["passed"])

    @property
    def faults(self) -> list[str]:
        """Return the faults, one sentence each."""
        return list(self.result["faults"])

    @property
    def attacks(self) -> pd.DataFrame:
        """Return one row a mode and attack: AUC and F1 with 95% intervals, chance, and the claim's
        bound.

        A mode to which none applied has one row with the reason in `skipped`.
        """
        rows: list[dict[str, Any]] = []
        for mode, found in self.result["attacks"].items():
            if found["skipped"]:
                rows.append({"mode": mode, "attack": None, "skipped": found["skipped"]})
            for cell in found.get("cells", []):
                rows.append({
                    "mode": mode, "attack": cell["attack"], "view": cell["view"],
                    "auc": cell["auc"][0], "auc_low": cell["auc"][1], "auc_high": cell["auc"][2],
                    "f1": cell["f1"][0], "chance_auc": cell["chance_auc"],
                    "chance_f1": cell["chance_f1"], "bound_auc": cell["bound_auc"],
                    "skipped": None})
        return pd.DataFrame(rows)

    @property
    def releases(self) -> pd.DataFrame:
        """Return the ledger with the epsilon spent so far."""
        return pd.DataFrame(self.result["releases"])

    @property
    def empirical(self) -> dict[str, Any]:
        """Return the canaries against the claim: estimate, bounds, verdict; or why they were
        `skipped`."""
        return dict(self.result["empirical"] or {"skipped": "not asked for"})

    def __repr__(self) -> str:
        return f"<privfedmm.Audit {verdict(self.result, self._way)}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{self.attacks.to_html(index=False)}"
