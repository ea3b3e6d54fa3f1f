"""How often the audit notices that a run's stack is broken: a table of faults and rates."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from privacy import CapacityError
from privacy.audit import SABOTAGES, AuditError, sabotage
from privfedmm.assemble import plan_of
from privfedmm.audit.attack_matrix import PRIVATE, mode_config
from privfedmm.audit.budget import read_run
from privfedmm.audit.empirical import (
    JOINT_ALARM,
    SHOWN_ALPHA,
    Canaries,
    Claimed,
    Verdict,
    gather,
    judged,
)
from privfedmm.base.code_digest import code_digest, foreign_code
from privfedmm.base.errors import UserError
from privfedmm.base.files import write_json, write_text
from privfedmm.config import RunConfig
from privfedmm.data import Dataset
from privfedmm.runs.record import set_threads
from privfedmm.runs.run import load_data

HONEST = "none (honest)"
SEEDS, HONEST_SEEDS, MOSTLY = 20, 100, 0.95
_MOST = 1e6
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Rate:
    """This says how often the audit noticed one fault under one place of noise.

    failed: the number of audits that failed at the level of the verdict. by_bounds: the number that
    had a bound above the claim. found: test or bound -> the number of audits that it failed in.
    epsilon: the median estimate, None without any. refused: the reason why the fault cannot occur.
    """

    failed: int
    by_bounds: int
    seeds: int
    found: Mapping[str, int]
    epsilon: float | None
    refused: str | None = None

    @property
    def noticed(self) -> bool:
        """Tell whether it was noticed in 19 of 20 audits or more."""
        return self.failed >= MOSTLY * self.seeds


def rate(
    config: RunConfig, data: Dataset, fault: str, seeds: Sequence[int], canaries: int | None = None
) -> Rate:
    """Audit a configuration with a fault, once for each seed. Raises UserError as a run of it
    does."""
    planned = plan_of(config, data)
    assert planned.budget is not None
    claim = Claimed(planned.budget.epsilon, planned.budget.delta, planned.rounds)
    failed = by_bounds = 0
    found, estimates = Counter[str](), []
    for seed in seeds:
        seeded = config.model_copy(update={"seed": seed})
        try:
            evidence = gather(
                seeded, data, claim, Canaries(count=canaries, seed=seed), lambda text: None,
                lambda stack: stack if fault == HONEST else sabotage(
                    stack, fault, claim.rounds))
        except (AuditError, CapacityError) as error:
            return Rate(0, 0, 0, {}, None, str(error))
        verdict = Verdict.of(evidence, claim)
        failed += not verdict.passed
        by_bounds += bool(verdict.violations)
        found.update([*verdict.violations, *verdict.noise_faults])
        estimate = judged(evidence, claim, SHOWN_ALPHA).estimate
        if estimate is not None:
            estimates.append(estimate.value)
    # Without noise it is infinite; beyond 1000 the table tells no more.
    middle = min(sorted(estimates)[len(estimates) // 2], _MOST) if estimates else None
    return Rate(failed, by_bounds, len(seeds), dict(found), middle)


class _Progress:
    """Finished cells of the table, beside it, so that a table that was cut short goes on."""

    def __init__(self, out: Path, key: str) -> None:
        self._file, self._key = out.with_name(out.name + ".part.json"), key
        self._cells: dict[str, dict[str, Any]] = {}
        if self._file.exists():
            try:
                kept = json.loads(self._file.read_text(encoding="utf-8"))
            except ValueError:
                kept = {}  # cut short: its cells are made again
            if kept.get("key") == key:
                self._cells = kept["cells"]

    def cell(self, place: str, fault: str, make: Callable[[], Rate]) -> Rate:
        """The rate of a cell: as it was found, or found now and kept."""
        name = f"{place} {fault}"
        if name not in self._cells:
            self._cells[name] = asdict(make())
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, {"key": self._key, "cells": self._cells})
        return Rate(**self._cells[name])

    def done(self) -> None:
        self._file.unlink(missing_ok=True)


def write_table(
    folder: Path, out: Path, tell: Tell, seeds: Sequence[int] = tuple(range(SEEDS)),
    honest: Sequence[int] = tuple(range(HONEST_SEEDS)),
) -> None:
    """Audit every fault under central, distributed and local noise, and write the rates to `out`.

    The configuration is that of the run in `folder`. honest: seeds of audits without a fault. A
    table that was cut short goes on where it was, unless code, run or seeds have changed. Raises
    UserError where the folder holds no finished run, or its method releases nothing.
    """
    _, config, _ = read_run(folder)
    if not config.entry.can.federated:
        raise UserError(f"audit: method {config.method} releases nothing; there is nothing to "
                        "break")
    data = load_data(config)
    set_threads(config.threads)
    rates: dict[str, dict[str, Rate]] = {fault: {} for fault in (HONEST, *SABOTAGES)}
    key = hashlib.sha256("|".join([
        code_digest(), foreign_code(), config.model_dump_json(), data.sha256, repr(seeds),
        repr(honest)]).encode()).hexdigest()
    progress = _Progress(out, key)
    for place in PRIVATE:
        changed = mode_config(config, place)
        for fault, row in rates.items():
            tell(f"sabotage: {place}, {fault}")
            row[place] = progress.cell(place, fault, partial(
                rate, changed, data, fault, honest if fault == HONEST else seeds))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, markdown(mode_config(config, "central"), data, rates, seeds))
    progress.done()


def markdown(
    config: RunConfig, data: Dataset, rates: Mapping[str, Mapping[str, Rate]],
    seeds: Sequence[int],
) -> str:
    """Return the table as Markdown, with all that is needed to make it again."""
    assert config.dp is not None
    count = Canaries(seed=0).number(data.num_users)
    lines = [
        "# Does the audit notice a broken stack?", "",
        f"Generated by `privfedmm audit RUN --sabotage-table FILE`. Data: {data.name}, "
        f"{data.num_users} users, {data.num_items} items. Method {config.method}, "
        f"{config.rounds} rounds, claimed epsilon {config.dp.epsilon:g}, {count} canaries, seeds "
        f"{min(seeds)} to {max(seeds)} (of training, simulated noise, coins and directions).", "",
        "The run's algorithm trains beside the canaries and everything passes the real gate; one "
        "part of the stack is broken, and its ledger still charges for the honest one. The names "
        "of the faults are told in `privacy.audit.sabotage`. In each cell: audits that failed, "
        "with the verdict's joint false alarm of "
        f"{JOINT_ALARM:.0%}; in brackets those in which a lower bound on epsilon was above the "
        "claim, which is all that an audit by canaries alone has to go by; the median estimate of "
        "epsilon. Last: the tests and bounds that failed in most audits that failed.", "",
        *_summary(rates), "",
        "| fault | " + " | ".join(PRIVATE) + " | found by |", "|---" * (2 + len(PRIVATE)) + "|",
    ]
    for fault, found in rates.items():
        cells = [*(_cell(found[p]) for p in PRIVATE), _finders(found)]
        lines.append(f"| {fault} | " + " | ".join(cells) + " |")
    refused = {r.refused for found in rates.values() for r in found.values() if r.refused}
    lines += ["", *(f"- refused: {why}" for why in sorted(refused)), ""]
    return "\n".join(lines)


def _summary(rates: Mapping[str, Mapping[str, Rate]]) -> list[str]:
    """How many faults are noticed in 19 of 20, the others by name, and the false alarms."""
    out = []
    for place in PRIVATE:
        played = {f: r[place] for f, r in rates.items() if f != HONEST and not r[place].refused}
        missed = [f"{f} ({r.failed} of {r.seeds})" for f, r in played.items() if not r.noticed]
        out.append(f"- {place}: {len(played) - len(missed)} of {len(played)} faults noticed in at "
                   f"least {MOSTLY:.0%} of audits; " + (
                       f"missed oftener: {', '.join(missed)}" if missed else "no other"))
    honest = rates[HONEST].values()
    out.append(f"- honest: {sum(r.failed for r in honest)} of {sum(r.seeds for r in honest)} "
               f"audits failed, where {JOINT_ALARM:.0%} may")
    return out


def _finders(found: Mapping[str, Rate]) -> str:
    counted, failed = Counter[str](), 0
    for one in found.values():
        counted.update(one.found)
        failed += one.failed
    return ", ".join(name for name, times in counted.most_common() if 2 * times > failed)


def _cell(found: Rate) -> str:
    if found.refused:
        return "refused"
    estimate = "" if found.epsilon is None else (
        f", epsilon {found.epsilon:.3g}" if found.epsilon < 1e3 else ", epsilon beyond 1000")
    return f"{found.failed}/{found.seeds} ({found.by_bounds}/{found.seeds}){estimate}"
