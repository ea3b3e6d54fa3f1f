"""The account of a data set: what all private runs on its users have cost together.

It is in the user's state folder, under a digest of the users and their interactions, so that other
features, another split or another folder name open no new account.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from privacy import Charged, Ledger, PricingError
from privacy.accounting import Spent
from privacy.composition import composed
from privfedmm.base.errors import PRIVACY_VIOLATION, UserError
from privfedmm.base.files import finite, write_json
from privfedmm.base.state_folder import locked, state_folder
from privfedmm.data import Dataset, Rows
from privfedmm.privacy_plan.continuing import SIMULATED
from privfedmm.privacy_plan.stack import charges_of
from privfedmm.runs.session import Session


def users_digest(data: Dataset) -> str:
    """Return the SHA-256 over who has which items, whatever part of them is held out."""
    every = Rows.joined([data.train, Rows.of_one(data.validation), Rows.of_one(data.test),
                         *data.further.values()])
    owner, item = every.owner, every.indices
    users, items = data.user_ids.astype(str), data.item_ids.astype(str)
    # In the order of ids: numbers follow from what was filtered and how it was read.
    place = np.lexsort((items[item], users[owner]))
    digest = hashlib.sha256("\n".join(sorted(users)).encode())
    digest.update("\n".join(
        f"{u}\t{i}" for u, i in zip(users[owner[place]], items[item[place]], strict=True)).encode())
    if not len(owner):  # a server without rows: nothing but the catalogue tells its users apart
        digest.update(data.sha256.encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Total:
    """This is what the runs of one unit cost together.

    unit: what is protected. runs: how many are counted. epsilon: infinite where one has no bound.
    delta: the smallest of the runs'. alone: the largest epsilon of a single run.
    """

    unit: str
    runs: int
    epsilon: float
    delta: float
    alone: float

    def line(self) -> str:
        """Return the total in words."""
        return (f"{self.runs} private run{'s' * (self.runs != 1)} together: epsilon "
                f"{self.epsilon:.4g}, delta {self.delta:.3g}, {self.unit} level (the largest "
                f"alone: {self.alone:.4g})")


def totals(runs: Sequence[Mapping[str, Any]]) -> list[Total]:
    """Return what runs cost together, one total a unit; runs that claim nothing are left out.

    Raises UserError for a run whose noise is of a package that is not there.
    """
    out = []
    for unit in sorted({run["unit"] for run in runs if run["claims"]}):
        counted = [run for run in runs if run["claims"] and run["unit"] == unit]
        delta = min(float(run["delta"]) for run in counted)
        try:
            price = composed(
                [[Spent(**entry) for entry in run["charges"]] for run in counted], delta)
        except PricingError as error:
            raise UserError(f"budget: {error}; a run on these users had a noise of a package that "
                            "is not there: install it again") from error
        out.append(Total(unit, len(counted), price, delta,
                         max(float(run["epsilon"]) for run in counted)))
    return out


class Account:
    """This is the account of one data set's users. A run is charged in full before it begins."""

    def __init__(self, data: Dataset) -> None:
        self._data = data

    @cached_property
    def file(self) -> Path:
        """Return the file that the account is kept in."""
        return state_folder() / "accounts" / f"{users_digest(self._data)}.json"

    def read(self) -> dict[str, Any]:
        """Return the account: name, users, budget (None for none), runs. Raises UserError for a
        damaged file."""
        if not self.file.exists():
            return {"format": 1, "name": self._data.name, "users": self._data.num_users,
                    "budget": None, "runs": []}
        try:
            found: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
            _ = [Spent(**entry) for run in found["runs"] for entry in run["charges"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"the account {self.file} cannot be read ({error}); mend it or move it "
                            "away, which forgets what was spent") from error
        return found

    def limit(self, epsilon: float | None) -> None:
        """Set what all runs together may cost, in epsilon; None for no limit.

        Raises UserError for one that is not positive.
        """
        if epsilon is not None and not epsilon > 0:
            raise UserError(f"--dataset-budget: {epsilon:g} must be above 0")
        self._change(lambda held: {**held, "budget": None if epsilon is None else finite(epsilon)})

    def check(self, session: Session) -> None:
        """Raise UserError where a run that has not begun would overspend the account's budget."""
        run = planned_run(session, None)
        if run is not None:
            _charged(self.read(), run)

    def open(self, session: Session, out: Path | None) -> str | None:
        """Charge a run that has not begun, all of its rounds; return its name in the account.

        A run whose noise follows from the seed is listed, and claims nothing. One without a budget
        is not listed: None. Raises UserError, with the exit code of a privacy violation, where the
        account's budget would be overspent.
        """
        run = planned_run(session, out)
        if run is None:
            return None
        self._change(lambda held: _charged(held, run))
        return str(run["run"])

    def withdraw(self, run: str | None) -> None:
        """Take a run off the account that could not begin, so that nothing of it was released."""
        if run is not None:
            self._change(lambda held: {
                **held, "runs": [one for one in held["runs"] if one["run"] != run]})

    def close(self, run: str | None, entries: Sequence[Charged]) -> None:
        """Put what a finished run's ledger holds in the place of what was planned."""
        if run is None:
            return
        done = {"finished": True, "charges": kept(entries)}
        self._change(lambda held: {**held, "runs": [
            {**one, **done} if one["run"] == run else one for one in held["runs"]]})

    def _change(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        with locked(self.file):
            write_json(self.file, change(self.read()))


def planned_run(session: Session, out: Path | None) -> dict[str, Any] | None:
    """Return the line of a run in an account, with all of its planned entries; None for one that
    promises nothing."""
    promise = session.statement
    if session.config.dp is None or promise.epsilon is None:
        return None
    bound = session.stack.ledger.commitment
    return {
        "run": os.urandom(16).hex() if bound is None else str(bound["run"]),
        "folder": None if out is None else str(out.absolute()),
        "label": session.config.label or session.config.method, "unit": promise.unit,
        "epsilon": promise.epsilon, "delta": promise.delta, "noise": promise.noise_source,
        "claims": promise.noise_source != SIMULATED, "finished": False,
        "charges": kept(charges_of(session.planned, session.stack, session.population)),
    }


def _charged(held: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    after = {**held, "runs": [*(o for o in held["runs"] if o["run"] != run["run"]), run]}
    if held["budget"] is None or not run["claims"]:
        return after
    for total in totals(after["runs"]):
        if total.unit == run["unit"] and total.epsilon > held["budget"] * (1 + 1e-6):
            raise UserError(
                f"--dataset-budget: with this run, {total.line()}, more than the "
                f"{held['budget']:g} that {held['name']} may cost; lower --dp-epsilon, or see "
                "what was spent with privfedmm budget", PRIVACY_VIOLATION)
    return after


def kept(entries: Sequence[Charged]) -> list[dict[str, Any]]:
    """Return entries of a ledger as a line of an account keeps them."""
    return [asdict(Spent.of(entry)) for entry in entries]


def curve_costs(
    runs: Iterable[tuple[Mapping[str, Any], Iterable[Mapping[str, Any]]]]
) -> list[str]:
    """Return what runs on the same users cost whoever sees all of their figures, in sentences.

    runs: record and ledger rows of each. There are none where no run is private.
    """
    counted, simulated = [], 0
    for record, rows in runs:
        privacy = record["privacy"]
        if privacy["epsilon"] is None or privacy["delta"] is None or not privacy["epsilon"]:
            continue
        simulated += privacy["noise_source"] == SIMULATED
        entries = Ledger.from_json(dict(row) for row in rows).entries
        counted.append({"claims": True, "unit": privacy["unit"], "delta": privacy["delta"],
                        "epsilon": privacy["epsilon"], "charges": kept(entries)})
    lines = [total.line() for total in totals(counted)]
    if simulated:
        lines.append(f"{simulated} of them have noise that follows from the seed: they protect "
                     "nobody, and with other noise would cost that much")
    return lines
