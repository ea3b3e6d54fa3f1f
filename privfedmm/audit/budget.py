"""`privfedmm audit`, the budget: do record, config, ledger and independent prices agree?"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from privacy import Entry, Ledger, LedgerError, PricingError, epsilon
from privacy.accounting import Accountant
from privfedmm.audit.bound import bound_to
from privfedmm.base.errors import UserError
from privfedmm.base.files import finite
from privfedmm.config import RunConfig, resolve_saved
from privfedmm.privacy_plan.clipping import clip_faults
from privfedmm.privacy_plan.keeping import read_ledger
from privfedmm.privacy_plan.plan import device_steps
from privfedmm.runs.run import CONFIG, RECORD

_TOLERANCE = 1e-3
_ACCOUNTANTS: tuple[Accountant, ...] = ("closed_form", "pld", "rdp", "prv")


def check_budget(folder: Path, quick: bool) -> dict[str, Any]:
    """Check the budget of a finished run; `faults` is empty where all is well.

    Raises UserError where the folder holds no finished run.
    """
    return budget_of(Subject.read(folder), quick)


@dataclass(frozen=True)
class Subject:
    """This is a finished run as an audit sees it.

    name: the name that people are shown, its folder where it has one. rows: the rows of its ledger.
    folder: the run folder, None for a run in memory.
    """

    name: str
    record: dict[str, Any]
    config: RunConfig
    rows: list[dict[str, object]]
    folder: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> Subject:
        """Read the run of a folder. Raises UserError where there is no finished one."""
        return cls(str(folder), *read_run(folder), folder=folder)


def budget_of(subject: Subject, quick: bool) -> dict[str, Any]:
    """Check the budget of a finished run in memory, as `check_budget` does."""
    folder, record, config, rows = subject.name, subject.record, subject.config, subject.rows
    faults: list[str] = []
    try:
        ledger = Ledger.from_json(rows)
    except LedgerError as error:
        return _result(folder, record, [], {}, [f"hash chain: {error}"], "not checked")
    privacy = record["privacy"]
    entries = ledger.entries
    bound, broken = bound_to(ledger, subject.folder, record)
    faults += broken
    faults += _against_record(ledger, privacy, record["rounds_run"])
    dp = config.dp
    claimed, delta = privacy["epsilon"], privacy["delta"]
    if dp is None and claimed not in (None, 0.0):
        faults.append(f"record claims epsilon {claimed:g}, but the config asks for no privacy")
    if dp is not None and math.isfinite(dp.epsilon):
        if claimed is None or claimed > dp.epsilon * (1 + 1e-6):
            faults.append(f"record claims epsilon {claimed}, config asks for {dp.epsilon:g}")
        if dp.delta is not None and dp.delta != delta:
            faults.append(f"record states delta {delta}, config {dp.delta:g}")
        faults += clip_faults(entries, dp, record["dataset"]["users"], privacy)
        if privacy["unit"] != dp.unit:
            faults.append(f"record protects one {privacy['unit']}, config asks for {dp.unit}")
        due = device_steps(config) if dp.per_interaction else 1
        faults += [f"round {e.round}: {e.steps} noisy steps in the ledger, {due} by the config"
                   for e in entries if e.steps != due]
    if delta is not None and claimed and delta >= 1 / record["dataset"]["users"]:
        faults.append(f"delta {delta:g} is not below 1 / users")
    prices = _prices(entries, delta or 1e-5, quick)
    tightest = prices["ledger"]["epsilon"]
    if claimed is not None:
        if tightest is None or tightest > claimed + _TOLERANCE:
            faults.append(f"overspent: the ledger costs epsilon {tightest}, claimed is {claimed}")
        spent = privacy["epsilon_spent"]
        if tightest is not None and (spent is None or abs(spent - tightest) > _TOLERANCE):
            faults.append(f"record says epsilon {spent} was spent, the ledger costs {tightest:.4f}")
    return _result(folder, record, _by_round(entries, delta or 1e-5), prices, faults, bound)


def read_run(folder: Path) -> tuple[dict[str, Any], RunConfig, list[dict[str, object]]]:
    """Read record, config and ledger rows of a finished run. Raises UserError where there is
    none."""
    if not (folder / CONFIG).exists():
        raise UserError(f"audit: {folder} is no run folder; it has no {CONFIG}")
    if not (folder / RECORD).exists():
        raise UserError(f"audit: the run in {folder} is not finished; continue it with "
                        f"privfedmm run --resume {folder}")
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return record, resolve_saved(folder / CONFIG), read_ledger(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"audit: {folder} cannot be read ({error})") from error


def _against_record(ledger: Ledger, privacy: dict[str, Any], played: int) -> list[str]:
    faults, entries = [], ledger.entries
    last = ledger.digests[-1] if ledger.digests else None
    if last != privacy["ledger_digest"]:
        faults.append("the ledger does not end with the entry that the record names: entries were "
                      "removed, added or replaced")
    kinds = Counter((e.name, e.event, e.noise_multiplier, e.clip_norm) for e in entries)
    stated = {(r["name"], r["event"], r["noise_multiplier"], r["clip_norm"]): r["count"]
              for r in privacy["releases"]}
    for kind in sorted(kinds.keys() | stated.keys(), key=str):
        if kinds.get(kind, 0) != stated.get(kind, 0):
            faults.append(f"release {kind[0]} ({kind[1]}, noise multiplier {kind[2]}, clip "
                          f"{kind[3]}): {kinds.get(kind, 0)} in the ledger, "
                          f"{stated.get(kind, 0)} in the record")
    rounds = len({e.round for e in entries})
    if rounds != privacy["rounds"]:
        faults.append(f"the ledger holds {rounds} rounds, the record {privacy['rounds']}")
    released = len({e.round for e in entries if e.status == "released"})
    if entries and released != played:
        faults.append(f"the ledger released {released} rounds, the run played {played}")
    return faults


def _prices(entries: tuple[Entry, ...], delta: float, quick: bool) -> dict[str, dict[str, Any]]:
    prices: dict[str, dict[str, Any]] = {
        "ledger": {"epsilon": finite(epsilon(entries, delta)), "note": "tightest sound accountant"}
    }
    sampled = any(e.sampling_rate < 1 for e in entries)
    for name in _ACCOUNTANTS:
        if quick and sampled and name in ("pld", "prv"):
            continue
        try:
            price = epsilon(entries, delta, name)
            note = "no finite price" if math.isinf(price) else ""
            prices[name] = {"epsilon": finite(price), "note": note}
        except PricingError as error:
            prices[name] = {"epsilon": None, "note": str(error)}
    return prices


def _by_round(entries: tuple[Entry, ...], delta: float) -> list[dict[str, Any]]:
    # Pricing sampled rounds is slow: with many, only every tenth and the last are shown.
    every = 10 if any(e.sampling_rate < 1 for e in entries) and len(entries) > 20 else 1
    out = []
    for place, entry in enumerate(entries):
        shown = place % every == 0 or place == len(entries) - 1
        out.append({
            "round": entry.round, "attempt": entry.attempt, "name": entry.name,
            "event": entry.event, "status": entry.status,
            "noise_multiplier": entry.noise_multiplier, "clip_norm": entry.clip_norm,
            "sampling_rate": entry.sampling_rate, "cohort": entry.cohort,
            "epsilon_so_far": finite(epsilon(entries[: place + 1], delta)) if shown else None,
        })
    return out


def _result(
    folder: str, record: dict[str, Any], releases: list[dict[str, Any]],
    prices: dict[str, dict[str, Any]], faults: list[str], bound: str,
) -> dict[str, Any]:
    privacy = record["privacy"]
    return {
        "folder": folder,
        "claimed": {k: privacy[k] for k in ("unit", "adjacency", "trust", "epsilon", "delta",
                                            "noise_source", "reason")},
        "bound": bound,
        "prices": prices,
        "releases": releases,
        "faults": faults,
    }


def budget_tables(result: dict[str, Any]) -> list[Table | str]:
    """Return releases, prices and the claim as tables and sentences for people."""
    releases = Table(title="releases")
    for column in ("round", "name", "event", "noise multiplier", "clip", "rate", "cohort",
                   "epsilon so far"):
        releases.add_column(column)
    for row in result["releases"]:
        releases.add_row(
            str(row["round"]), row["name"] + ("" if row["status"] == "released" else " (aborted)"),
            row["event"], _number(row["noise_multiplier"]), _number(row["clip_norm"]),
            _number(row["sampling_rate"]), str(row["cohort"]), _number(row["epsilon_so_far"]))
    prices = Table(title="price of the whole ledger")
    for column in ("accountant", "epsilon", "note"):
        prices.add_column(column)
    for name, price in result["prices"].items():
        prices.add_row(name, _number(price["epsilon"]), price["note"])
    claim = result["claimed"]
    claimed = "none" if claim["epsilon"] is None else (
        f"epsilon {claim['epsilon']:.4g}, delta {claim['delta']:.3g}")
    return [releases, prices, f"claimed: {claimed} ({claim['unit']} level, {claim['adjacency']}, "
            f"trust {claim['trust']})", f"bound: {result['bound']}"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
