"""The study of a search: Optuna's, in a SQLite file, one trial a look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from privacy.extras import check, need
from privfedmm.base.errors import UserError
from privfedmm.base.interrupts import held
from privfedmm.base.streams import bits
from privfedmm.tuning.parameters import Parameter

STUDY = "study.db"
VALUES, LINE, WHY = "values", "line", "why"  # what a trial keeps beside its value


def installed() -> None:
    """Raise MissingExtra where Optuna is not installed."""
    check("optuna", "tune", "tune")


@contextmanager
def opened(folder: Path) -> Iterator[Trials]:
    """Open the study of a folder, a new one where there is none. Raises UserError for a damaged
    one."""
    optuna = need("optuna", "tune", "tune")
    from sqlalchemy import URL
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place = URL.create("sqlite", database=str(folder / STUDY)).render_as_string()
    storage = None
    try:
        storage = optuna.storages.RDBStorage(place)
        study = optuna.create_study(storage=storage, study_name="tune", direction="maximize",
                                    load_if_exists=True)
        yield Trials(optuna, study)
    except (SQLAlchemyError, RuntimeError) as error:
        raise UserError(f"tune: {folder / STUDY} cannot be used ({error}); start a new search in "
                        "another folder") from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


class Trials:
    """These are the looks of a search so far, in the order in which they were begun."""

    def __init__(self, optuna: Any, study: Any) -> None:
        self._optuna, self._study = optuna, study
        self._states = optuna.trial.TrialState
        for trial in self._study.get_trials(states=(self._states.RUNNING,)):
            # Its process was killed: what it would have given is not known.
            self._study.tell(trial.number, state=self._states.FAIL)

    def rows(self) -> list[dict[str, Any]]:
        """Return number, state (finished, failed, interrupted), settings, value and why of each."""
        out = []
        for trial in self._study.get_trials():
            why = trial.user_attrs.get(WHY, "")
            finished = trial.state == self._states.COMPLETE
            out.append({
                "number": trial.number + 1,
                "state": "finished" if finished else "failed" if why else "interrupted",
                "settings": trial.user_attrs.get(VALUES, {}),
                "value": trial.value if finished else None, "why": why})
        return out

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of an account of the looks that were charged."""
        return [t.user_attrs[LINE] for t in self._study.get_trials() if t.user_attrs.get(LINE)]

    def ask(self, parameters: Sequence[Parameter], seed: int) -> Look:
        """Begin a look.

        Its settings follow from the seed and from what earlier looks gave, whether the search was
        interrupted between them or not.
        """
        with held():
            done = [row for row in self.rows() if row["state"] != "interrupted"]
            start = bits(seed, "tune", len(done), np.zeros(1), 1)
            self._study.sampler = self._optuna.samplers.TPESampler(seed=int(start[0, 0]))
            trial = self._study.ask({p.path: p.distribution() for p in parameters})
            values = {p.path: p.value(trial.params[p.path]) for p in parameters}
            trial.set_user_attr(VALUES, values)
        return Look(trial, values, self._study, self._states.FAIL)


class Look:
    """This is a look that has begun. values: setting path -> value."""

    def __init__(self, trial: Any, values: dict[str, Any], study: Any, failed: Any) -> None:
        self.values, self.number = values, int(trial.number) + 1
        self._trial, self._study, self._failed = trial, study, failed

    def charge(self, line: dict[str, Any] | None) -> None:
        """Keep its line of an account: before it begins, and when it is over."""
        with held():
            self._trial.set_user_attr(LINE, line)

    def finish(self, value: float) -> None:
        """Keep what it gave."""
        with held():
            self._study.tell(self._trial, value)

    def fail(self, why: str) -> None:
        """Keep that it gave nothing, and why; no reason is one that was interrupted."""
        with held():
            self._trial.set_user_attr(WHY, why)
            self._study.tell(self._trial, state=self._failed)
