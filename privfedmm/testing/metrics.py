"""The contract of a metric: subclass it in your tests and set `metric`."""

from __future__ import annotations

import numpy as np

from privfedmm.evaluation import Metric, Places

LENGTHS = (1, 3, 10, 50)


class MetricContract:
    """Checks what every metric must do.

    Subclass it with a name that begins with Test, and set `metric`.
    """

    metric: Metric

    def places(self) -> Places:
        """Return the places of 40 users with none to six held-out items among 30 candidates."""
        rng = np.random.default_rng(5)
        counts = rng.integers(0, 7, 40)
        ranks = [np.sort(rng.permutation(30)[:count]) + 1 for count in counts]
        return Places(counts, np.concatenate(ranks).astype(np.int32))

    def test_it_says_what_it_is(self) -> None:
        """Check that it has a name that can stand before @, a summary and a reference."""
        assert self.metric.name == self.metric.name.strip().lower() and "@" not in self.metric.name
        assert self.metric.summary.strip() and self.metric.reference.strip()

    def test_it_gives_every_user_a_value_from_0_to_1(self) -> None:
        """Check shape, range, and that a user without held-out items has 0."""
        places = self.places()
        for k in LENGTHS:
            found = self.metric.of(places, k)
            assert found.shape == places.counts.shape and found.dtype == np.float64
            assert np.isfinite(found).all() and (found >= 0).all() and (found <= 1 + 1e-12).all()
            assert (found[places.counts == 0] == 0).all()

    def test_a_user_is_judged_by_its_own_items_alone(self) -> None:
        """Check that the value of a user is the same without the others."""
        places = self.places()
        whole = self.metric.of(places, 10)
        for user in range(len(places)):
            alone = places[np.arange(len(places)) == user]
            assert self.metric.of(alone, 10)[0] == whole[user]

    def test_a_better_list_is_worth_no_less(self) -> None:
        """Check that held-out items at the first places have the largest value, and that items
        beyond k are worth as much as none found."""
        places = self.places()
        best = Places(places.counts, places.nth.astype(np.int32))
        beyond = Places(places.counts, (places.nth + max(LENGTHS)).astype(np.int32))
        for k in LENGTHS:
            found = self.metric.of(places, k)
            assert (self.metric.of(best, k) >= found).all()
            assert (self.metric.of(beyond, k) == 0).all()
        assert (self.metric.of(best, 10)[places.counts > 0] > 0).all()
