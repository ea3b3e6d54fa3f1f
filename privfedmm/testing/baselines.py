"""The contract of a baseline: subclass it in your tests and name your baseline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import ClassVar

import numpy as np

from privfedmm.baselines.baseline import Baseline
from privfedmm.data import DATA_SEED, Dataset, PlantedShape, planted
from privfedmm.evaluation import Scorer

_SEED = 5
# Blocks of other sizes may add in another order; more than that is no rounding.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5


class BaselineContract:
    """Checks what every baseline must do.

    Set `baseline` in a subclass whose name begins with Test:

        class TestMine(BaselineContract):
            baseline = MINE

    It is asked for scores of a generated data set with text, pictures and times; override `data`
    for one that needs something else.
    """

    baseline: ClassVar[Baseline]

    def data(self) -> Dataset:
        """Return the data set to score: 60 users, 80 items, text, pictures and an order of time."""
        return _generated()

    def scorers(self, data: Dataset, seed: int = _SEED) -> list[tuple[str, Scorer]]:
        """Return all settings of the baseline, with their scorers."""
        found = list(self.baseline.candidates(data, seed))
        assert found, f"{self.baseline.name} offers no setting"
        return found

    def test_it_says_what_it_is(self) -> None:
        """Check that name, summary, reference and what the server sees are not empty.

        They are in the record and in lists.
        """
        for part in ("name", "summary", "reference", "sees"):
            assert getattr(self.baseline, part).strip(), f"{part} of the baseline is empty"

    def test_scores_are_finite_and_one_a_pair(self) -> None:
        """Check that scores have shape [users, items] and are finite.

        A score that cannot be ranked is an error.
        """
        data = self.data()
        for setting, score in self.scorers(data):
            whole = np.asarray(score(np.arange(data.num_users)))
            assert whole.shape == (data.num_users, data.num_items), setting
            assert np.isfinite(whole).all(), setting

    def test_a_user_alone_has_the_scores_of_a_block(self) -> None:
        """Check that users have the same scores in blocks of any size and order.

        Evaluation asks for both.
        """
        data = self.data()
        some = np.arange(data.num_users)[[-1, 0, data.num_users // 2]]
        for setting, score in self.scorers(data):
            whole = np.asarray(score(np.arange(data.num_users)))
            _close(score(some), whole[some], setting)
            for user in some:
                _close(score(np.array([user])), whole[[user]], setting)

    def test_the_same_seed_gives_the_same_scores(self) -> None:
        """Check that a record can be made again: nothing depends on who drew before."""
        data = self.data()
        users = np.arange(data.num_users)
        _same(self.scorers(data), self.scorers(data), users)

    def test_held_out_items_are_not_read(self) -> None:
        """Check that other held-out items change no score: what is judged on must not be known."""
        data = self.data()
        users = np.arange(data.num_users)
        swapped = replace(data, validation=data.test, test=data.validation)
        nothing = np.full(data.num_users, -1, dtype=np.int64)
        emptied = replace(data, validation=nothing, test=nothing)
        for other in (swapped, emptied):
            _same(self.scorers(data), self.scorers(other), users)

    def test_it_says_what_it_needs(self) -> None:
        """Check that data that lacks what it needs does not fit.

        What it does not name, it can do without.
        """
        data = self.data()
        assert self.baseline.fits(data), "the data set of the contract must fit the baseline"
        lacking: Iterable[tuple[str, Dataset]] = [
            ("no features", replace(data, features={}, present={})),
            ("no times", replace(data, train_age=None)),
            *((f"{name} alone", replace(data, features={name: rows}))
              for name, rows in data.features.items()),
        ]
        for what, bare in lacking:
            if not self.baseline.fits(bare):
                continue
            for setting, score in self.scorers(bare):
                scores = np.asarray(score(np.arange(3)))
                assert np.isfinite(scores).all(), f"{setting} with {what}"


def _same(
    one: Iterable[tuple[str, Scorer]], two: Iterable[tuple[str, Scorer]], users: np.ndarray
) -> None:
    for (setting, a), (again, b) in zip(one, two, strict=True):
        assert setting == again, "the settings must not depend on the held-out items"
        np.testing.assert_array_equal(a(users), b(users), err_msg=setting)


def _close(found: np.ndarray, wanted: np.ndarray, setting: str) -> None:
    np.testing.assert_allclose(found, wanted, rtol=_RELATIVE, atol=_ABSOLUTE, err_msg=setting)


@cache
def _generated() -> Dataset:
    whole = planted(DATA_SEED, PlantedShape(users=60, items=80, train_items=10))
    # The planted set has no times; an order is drawn for each user.
    rng = np.random.default_rng(0)
    age = np.concatenate([rng.permutation(count) for count in whole.train.counts])
    return replace(whole, train_age=age)
