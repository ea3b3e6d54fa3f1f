"""`privfedmm audit`: is a run what its ledger commits to, and is its data?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from privacy import Ledger
from privfedmm.base.code_digest import code_digest, version
from privfedmm.runs.binding import code_of, differences, faults, plain

_PROMISED = ("epsilon", "delta", "unit", "adjacency", "trust", "noise_source", "noise_multiplier",
             "noise_multipliers", "clip_norm", "epsilon_vs_server", "epsilon_vs_observers",
             "not_covered")


def bound_to(
    ledger: Ledger, folder: Path | None, record: dict[str, Any]
) -> tuple[str, list[str]]:
    """Return in a sentence what the run is bound to, and what is not as it was promised.

    The data's digest is the record's; whether the data are that still, `audit` says where it loads
    them. folder: the run folder, None for a run in memory.
    """
    promised, privacy = ledger.commitment, record["privacy"]
    broken = [] if folder is None else faults(folder, ledger, record["dataset"].get("sha256"))
    if promised is None:
        if privacy.get("run") is not None:
            broken.append("the record names a bound run, but the ledger does not begin with a "
                          "commitment: it was removed")
        if folder is None:
            return "not bound: kept in memory", broken
        if privacy["epsilon"] is None and record["dp_epsilon"] is None:
            return "not bound: nothing is promised", broken
        return ("not bound: made before runs were bound to what they promise; that config, "
                "statement and data are those of the run is not claimed"), broken
    if privacy.get("run") != promised["run"]:
        broken.append(f"record.json: privacy.run is {privacy.get('run')}, and the ledger is of "
                      f"{promised['run']}")
    broken += differences(
        # What a run from before a promise does not name, its record does not name either.
        {name: promised["statement"].get(name) for name in _PROMISED},
        {name: plain(privacy.get(name)) for name in _PROMISED}, "record.json")
    digest, made_by = code_of(ledger)
    here = "this code" if digest == code_digest() else (
        f"version {made_by}, digest {digest[:12]} (here {version()}, {code_digest()[:12]})")
    went_on = len(ledger.notes) - 1
    what = "config, statement and data" if "sha256" in record["dataset"] else (
        "config and statement (and to data, which a bundle hides)")
    went = f"; went on under changed code {went_on} times" if went_on else ""
    return (f"to {what}, by a signed commitment of run {promised['run']}; made by {here}{went}",
            broken)


def promises_data(folder: Path | None, record: dict[str, Any]) -> bool:
    """Tell whether a run is bound to data that its folder says where to find.

    A bundle that was given away is bound to data that its readers do not have.
    """
    return (folder is not None and record["privacy"].get("run") is not None
            and "sha256" in record["dataset"])
