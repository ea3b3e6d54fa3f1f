"""What an audit found in ten lines, and the sentence that it ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privfedmm.front.verdict import verdict


def summary(result: Mapping[str, Any], way: str) -> list[str]:
    """Return an audit in at most ten lines, the verdict last; the tables say all of it.

    way: how the run sums updates, by name.
    """
    claim = result["claimed"]
    claimed = "nothing" if claim["epsilon"] is None else (
        f"epsilon {claim['epsilon']:.4g} at delta {claim['delta']:.3g}, {claim['unit']} level, "
        f"trust {claim['trust']}")
    return [f"claimed: {claimed}", f"bound: {result['bound']}", _budget(result),
            *_canaries(result["empirical"]), *_attacks(result["attacks"]),
            "tables of releases, prices, canaries and attacks: --verbose; figures: audit.json",
            f"audit {verdict(result, way)} ({result['seconds']:.0f} s)"]


def _budget(result: Mapping[str, Any]) -> str:
    prices = {name: price["epsilon"] for name, price in result["prices"].items()
              if price["epsilon"] is not None}
    count = len(result["releases"])
    if "ledger" not in prices:
        return f"ledger: {count} releases, of which nothing bounds what they tell"
    others = [value for name, value in prices.items() if name != "ledger"]
    spread = f"; accountants say {min(others):.4g} to {max(others):.4g}" if others else ""
    return f"ledger: {count} releases, epsilon {prices['ledger']:.4g}{spread}"


def _canaries(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    if found["skipped"]:
        return [f"canaries: skipped, {found['skipped']}"]
    bounds = [value for value in found["bounds_95"].values() if value is not None]
    most = f", lower bounds up to {max(bounds):.4g}" if bounds else ""
    estimate = found["estimate"]
    about = "" if estimate is None or estimate["value"] is None else (
        f", estimate {estimate['value']:.4g}")
    noise = found.get("noise_tests", {})
    failed = found.get("noise_faults", [])
    return [f"canaries: {found['canaries']} of them{about}{most}; claimed {found['claimed']:.4g}",
            f"noise: {len(noise)} tests, " + (f"FAILED: {', '.join(failed)}" if failed
                                              else "none failed")]


def _attacks(attacks: Mapping[str, Any]) -> list[str]:
    """The strongest attack of every mode, in one line."""
    out = []
    for mode, found in attacks.items():
        if not found.get("cells"):
            out.append(f"{mode} not attacked")
            continue
        best = max(found["cells"], key=lambda cell: cell["f1"][0] - cell["chance_f1"])
        out.append(f"{mode} {best['f1'][0]:.2f} ({best['chance_f1']:.2f})")
    return [f"strongest attack by mode, F1 (by chance): {', '.join(out)}"] if out else []
