"""The book that a device keeps for itself: every attempt in which its user's upload left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from privacy.accounting import epsilon
from privacy.errors import ProtocolError
from privacy.ledger import Budget, Charge

_MARGIN = 1 + 1e-6


@dataclass(frozen=True, kw_only=True)
class Attended(Charge):
    """Hold one attempt at a round as a device charges itself for it.

    attempt: its number. users: numbers of the users whose uploads left, ascending.
    """

    attempt: int
    users: tuple[int, ...]


@dataclass
class DeviceLedger:
    """Keep what the users of one owner have spent in a run, each by the attempts it uploaded in.

    It owes nothing to the server's ledger: an attempt counts from the moment its upload leaves,
    whatever the server says became of it. budget: what a user may spend; None: nothing is claimed,
    and nothing refused.
    """

    budget: Budget | None
    attended: list[Attended] = field(default_factory=list)

    def admitted(self, charge: Charge, attempt: int, users: np.ndarray) -> np.ndarray:
        """Return those of some users [n], int64 ascending, that may upload in one more attempt.

        charge: what one attempt at this round costs. Users whose budget would be overspent stay
        out. Raises ProtocolError where that are all of them, with what they have spent.
        """
        if self.budget is None:
            return users
        allowed = []
        for history, members in self._alike(users.tolist()).items():
            one = self._charged(charge, attempt, members)
            after = epsilon([*(self.attended[i] for i in history), one], self.budget.delta)
            if after <= self.budget.epsilon * _MARGIN:
                allowed += members
        if not allowed:
            raise ProtocolError(
                f"round {charge.round}, attempt {attempt}: one more upload would spend more than "
                f"the budget of {self.budget.epsilon:g} of every user here; they have spent up to "
                f"{max(self.spent(users.tolist()).values()):.4g} by their own ledger")
        return np.array(sorted(allowed), dtype=np.int64)

    def attend(self, charge: Charge, attempt: int, users: Iterable[int]) -> None:
        """Charge an attempt to the users whose uploads are about to leave."""
        members = tuple(sorted(users))
        if members:
            self.attended.append(self._charged(charge, attempt, members))

    def spent(self, users: Iterable[int], delta: float | None = None) -> dict[int, float]:
        """Return what each of some users has spent, epsilon at delta; infinite where anything left
        without a bound.

        delta: None for the budget's; without a budget it has to be given.
        """
        at = delta if delta is not None else self.budget.delta if self.budget else math.nan
        out: dict[int, float] = {}
        for history, members in self._alike(users).items():
            out.update(dict.fromkeys(members, epsilon(
                [self.attended[i] for i in history], at) if history else 0.0))
        return out

    def _alike(self, users: Iterable[int]) -> dict[tuple[int, ...], list[int]]:
        """Users by the attempts they are in: nearly all of them have the same history."""
        attempts: dict[int, list[int]] = {user: [] for user in users}
        for i, entry in enumerate(self.attended):
            for user in entry.users:
                if user in attempts:
                    attempts[user].append(i)
        out: dict[tuple[int, ...], list[int]] = {}
        for user, history in attempts.items():
            out.setdefault(tuple(history), []).append(user)
        return out

    def _charged(self, charge: Charge, attempt: int, users: Sequence[int]) -> Attended:
        return Attended(**{**asdict(replace(charge, status="aborted")), "attempt": attempt,
                           "users": tuple(users)})

    def to_state(self) -> dict[str, Any]:
        """Return budget and attempts as plain values, for the device's own disk."""
        budget = None if self.budget is None else asdict(self.budget)
        return {"budget": budget, "attended": [asdict(entry) for entry in self.attended]}

    @classmethod
    def from_state(cls, state: object) -> DeviceLedger:
        """Return the ledger of `to_state`. Raises ProtocolError where it cannot be read."""
        try:
            if not isinstance(state, Mapping):
                raise TypeError("it is no map")
            budget, rows = state["budget"], state["attended"]
            attended = [Attended(**{**row, "users": tuple(row["users"])}) for row in rows]
            return cls(None if budget is None else Budget(**budget), attended)
        except (TypeError, KeyError) as error:
            raise ProtocolError(f"a device's ledger cannot be read ({error})") from error
