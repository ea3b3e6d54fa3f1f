"""The book of a device: what it charges, whom it refuses, and that it comes back from the disk."""

from __future__ import annotations

import math

import numpy as np
import pytest

from privacy import Budget, Charge, Ledger, ProtocolError, calibrate
from privacy.device_ledger import DeviceLedger
from privacy.sampling import Everyone

BUDGET = Budget(2.0, 1e-5)
USERS = np.arange(3, 9)


def charge(round_: int, multiplier: float | None) -> Charge:
    return Charge(round=round_, name="joint", event="Gaussian" if multiplier else "NonPrivate",
                  noise_multiplier=multiplier, clip_norm=1.0, sampling_rate=1.0, population=20,
                  cohort=20)


def test_it_counts_like_the_server_where_the_server_is_honest() -> None:
    multiplier = calibrate(BUDGET.epsilon, BUDGET.delta, 4, Everyone(), 20)
    server, device = Ledger((), BUDGET), DeviceLedger(BUDGET)
    for number in range(4):
        one = charge(number, multiplier)
        assert device.admitted(one, 0, USERS).tolist() == USERS.tolist()
        device.attend(one, 0, USERS.tolist())
        server.charge(one)
        assert device.spent([5])[5] == pytest.approx(server.spent(BUDGET.delta), abs=1e-9)
    with pytest.raises(ProtocolError, match=r"more than the budget of 2 .* spent up to 2 by"):
        device.admitted(charge(4, multiplier), 0, USERS)


def test_every_attempt_counts_and_only_for_whoever_uploaded() -> None:
    """Two attempts at a round planned for one: their noise is for half as much."""
    multiplier = calibrate(BUDGET.epsilon, BUDGET.delta, 2, Everyone(), 20)
    device = DeviceLedger(BUDGET)
    device.attend(charge(0, multiplier), 0, [3, 4])
    device.attend(charge(0, multiplier), 1, [4, 5])
    spent = device.spent(USERS.tolist())
    assert spent[4] == pytest.approx(2.0, abs=1e-6)
    assert spent[3] == spent[5] and 0 < spent[3] < 2.0 and spent[6] == 0.0
    # One more is more than user 4 may spend; the others go on.
    assert device.admitted(charge(1, multiplier), 0, USERS).tolist() == [3, 5, 6, 7, 8]


def test_an_opening_of_one_round_twice_costs_what_it_costs() -> None:
    """The case that the server's ledger does not see: one charge there, 2.95 spent."""
    multiplier = calibrate(BUDGET.epsilon, BUDGET.delta, 1, Everyone(), 20)
    device = DeviceLedger(None)
    for attempt in (0, 1):
        device.attend(charge(0, multiplier), attempt, [3])
    assert device.spent([3], BUDGET.delta)[3] == pytest.approx(2.95, abs=0.01)


def test_without_a_budget_nothing_is_refused_and_nothing_promised() -> None:
    device = DeviceLedger(None)
    assert (device.admitted(charge(0, None), 0, USERS) == USERS).all()
    device.attend(charge(0, None), 0, [3])
    device.attend(charge(1, None), 0, [])
    assert len(device.attended) == 1
    assert device.spent([3, 4], 1e-5) == {3: math.inf, 4: 0.0}


def test_it_comes_back_from_the_disk() -> None:
    device = DeviceLedger(BUDGET)
    device.attend(charge(0, 5.0), 1, [3, 4])
    again = DeviceLedger.from_state(device.to_state())
    assert again == device and again.spent([3]) == device.spent([3])
    for wrong in (None, {"budget": None}, {"budget": None, "attended": [{"users": [1]}]},
                  {"budget": {"epsilon": 1}, "attended": []}):
        with pytest.raises(ProtocolError, match="ledger cannot be read"):
            DeviceLedger.from_state(wrong)
