"""The statistics methods: exact posteriors, optima, and nothing leaves but the releases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from privacy import Ledger, PrivacyStack
from privfedmm.data import Dataset, load
from privfedmm.data.types import Rows
from privfedmm.devices.profiles import own_items, own_sum
from privfedmm.federation import Simulator
from privfedmm.statistics import GroupStatistics, StatisticsSettings, public_groups
from privfedmm.statistics.fusion import fuse
from privfedmm.statistics.public import PublicItems
from privfedmm.statistics.taste import fit_tilt


def test_fusion_is_the_posterior_mean() -> None:
    rng = np.random.default_rng(0)
    items, rank = 12, 3
    features = rng.normal(size=(items, rank))
    expected = rng.uniform(0.5, 20, size=(2, items))
    variance = rng.uniform(1, 9, size=(2, items))
    sums = rng.normal(size=(2, items)) * 5
    fused_std, item_std = 0.4, 0.3
    totals, many, spread, known = (
        torch.from_numpy(x).float() for x in (sums, expected, variance, features))
    got = fuse(totals, many, spread, known, fused_std, item_std)
    prior = fused_std**2 * features @ features.T + item_std**2 * np.eye(items)
    for group in range(2):
        a = np.diag(expected[group])
        gain = prior @ a @ np.linalg.inv(a @ prior @ a + np.diag(variance[group]))
        np.testing.assert_allclose(got[group], gain @ sums[group], rtol=1e-4, atol=1e-5)


def test_items_without_popularity_get_no_preference() -> None:
    got = fuse(torch.tensor([[5.0, 5.0]]), torch.tensor([[0.0, 10.0]]), torch.ones(1, 2),
               torch.zeros(2, 0), 0.5, 0.3)
    assert got[0, 0] == 0.0 and 0 < got[0, 1] < 0.5


SETTINGS = StatisticsSettings(groups=4, association_rank=8)


def small() -> tuple[Dataset, PublicItems, StatisticsSettings]:
    data = load("planted", k_core=5, seed=0)
    settings = SETTINGS
    return data, PublicItems(data.features, data.num_items, settings), settings


def test_the_tilt_ends_at_the_optimum() -> None:
    data, public, settings = small()
    ids, offset = np.arange(20), torch.linspace(0, 1, data.num_items)
    f = public.tilt_features
    taste = fit_tilt(data.train, ids, offset, f, settings.ridge, 200)
    count = torch.from_numpy(data.train.counts[ids]).float()[:, None]
    chosen = torch.softmax(offset + taste @ f.T, 1)
    slope = own_sum(data.train, ids, f) - count * (chosen @ f) - settings.ridge * taste
    assert float(slope.abs().max()) < 1e-3
    short = fit_tilt(data.train, ids, offset, f, settings.ridge, settings.tilt_steps)
    torch.testing.assert_close(short, taste, atol=0.05, rtol=0.02)


def test_own_items_and_sums_agree() -> None:
    data, public, _ = small()
    ids = np.array([7, 3, 250])
    ones = own_items(data.train, ids, data.num_items)
    torch.testing.assert_close(ones @ public.tilt_features,
                               own_sum(data.train, ids, public.tilt_features))


def totals_of(data: Dataset, train: Rows, public: PublicItems) -> list[dict[str, Tensor]]:
    """The pre-noise sums of all rounds; later ones are told the same whatever the data."""
    method = GroupStatistics(SETTINGS, train, public, 0, train_age=None)
    out = []
    state, clients = method.initial_state(), method.initial_clients()
    for round_ in range(method.rounds):
        stack = PrivacyStack(method.releases, Ledger())
        cohort = stack.draw(train.users, round_)
        sums, _ = Simulator().gather(method, method.plan(state), clients, cohort, stack)
        out.append(dict(sums.sums))
        totals, _ = stack.finish(sums, cohort, train.users)
        state = method.step(state, totals)
        if round_ == 0:
            state = replace(state, counts=torch.linspace(1, 9, data.num_items))
        if round_ == 1:
            state = replace(state, associations=torch.eye(8))
    return out


def test_one_user_changes_nothing_but_its_own_part_of_the_releases() -> None:
    """The same broadcasts, all users against all but the last: the difference is one client's
    vector, no longer than the clip. A shared running average or count would show here."""
    data, public, settings = small()
    train = data.train
    last = train.users - 1
    without = Rows(train.indptr[:-1], train.indices[: train.indptr[last]])
    whole, less = totals_of(data, train, public), totals_of(data, without, public)
    method = GroupStatistics(settings, train, public, 0)
    weights = method.joint_weights
    assert [sorted(sums) for sums in whole] == [
        ["item_counts"], ["associations"], ["group_count", "group_residual"]]
    for round_ in range(3):
        squared = sum(float(((whole[round_][n] - less[round_][n]) * weights[n]).square().sum())
                      for n in whole[round_])
        assert abs(squared - 1.0) < 1e-2, "one client's joint vector has length 1"
    difference = whole[0]["item_counts"] - less[0]["item_counts"]
    touched = torch.nonzero(difference[:, 0].abs() > 1e-4)[:, 0].numpy()
    assert np.array_equal(touched, np.sort(train.row(last)))


def test_groups_follow_from_public_quantities() -> None:
    settings = StatisticsSettings()
    assert public_groups(settings, 943, 9.9) == 0
    assert public_groups(settings, 943, 2.82) == 5
    assert public_groups(settings, 6040, 2.82) == 20
    assert public_groups(settings, 100_000, 2.82) == 40
    assert public_groups(StatisticsSettings(groups=7), 10, 50.0) == 7
