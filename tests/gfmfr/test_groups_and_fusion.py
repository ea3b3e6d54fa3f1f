from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from privacy import Totals
from privfedmm.base.features import Neighbours, principal, select
from privfedmm.data import DATA_SEED, PlantedShape, load, planted
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.fusion import Fusion
from privfedmm.gfmfr.server import Server
from privfedmm.gfmfr.settings import AlgorithmSettings, FusionSettings
from privfedmm.gfmfr.state import ServerState
from privfedmm.groupings.centroids import Centroids, assign, initial_centroids, lloyd_step
from privfedmm.groupings.reference import align


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def sums(signals: torch.Tensor, group: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    counts = torch.bincount(group, minlength=k).float()
    return counts, torch.zeros(k, signals.shape[1]).index_add_(0, group, signals)


def test_steps_settle_on_well_separated_groups() -> None:
    """From sums alone; the fixed point is the partition that k-means finds on the same points."""
    g = torch.Generator().manual_seed(0)
    centres = unit(torch.randn(3, 8, generator=g))
    truth = torch.arange(90) % 3
    signals = unit(centres[truth] + 0.1 * torch.randn(90, 8, generator=g))
    now = initial_centroids(signals, 3, 8, seed=0)
    for _ in range(10):
        group = assign(signals, now)
        now = lloyd_step(now, *sums(signals, group, 3), min_size=2)
    found = KMeans(3, n_init=5, random_state=0).fit_predict((signals - signals.mean(0)).numpy())
    assert len({*zip(group.tolist(), found.tolist(), strict=True)}) == 3
    assert len({*zip(group.tolist(), truth.tolist(), strict=True)}) == 3


def test_an_abandoned_group_restarts_beside_the_largest() -> None:
    signals = unit(torch.randn(40, 5, generator=torch.Generator().manual_seed(1)))
    centres = unit(torch.eye(3, 5))
    counts = torch.tensor([25.0, 15.0, 0.0])
    group = torch.tensor([0] * 25 + [1] * 15)
    after = lloyd_step(Centroids(centres, torch.zeros(5)), counts, sums(signals, group, 3)[1], 5)
    assert torch.isfinite(after.centres).all()
    assert float(after.centres[2] @ after.centres[0]) > float(centres[2] @ after.centres[0])


@pytest.mark.parametrize("seed", range(5))
def test_private_grouping_by_distance_is_lloyds_algorithm(seed: int) -> None:
    """Without noise and from the same start, scikit-learn's Lloyd gives the same groups after the
    same number of steps: adjusted Rand index 1, centres to float32 rounding."""
    rng = np.random.default_rng(seed)
    signals = torch.from_numpy(rng.normal(size=(400, 6)).astype(np.float32))
    start = signals[rng.choice(400, 5, replace=False)].clone()
    now = Centroids(start, torch.zeros(6), angular=False)
    for _ in range(7):
        group = assign(signals, now)
        now = lloyd_step(now, *sums(signals, group, 5), min_size=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = KMeans(5, init=start.numpy(), n_init=1, max_iter=7, tol=0.0).fit(signals.numpy())
    assert adjusted_rand_score(fitted.labels_, assign(signals, now).numpy()) == 1.0
    np.testing.assert_allclose(fitted.cluster_centers_, now.centres.numpy(), atol=1e-5)


def test_a_group_too_small_is_not_broadcast() -> None:
    """What a group below min_size, or within noise of it, sends changes nothing of what is
    broadcast about groups: centres, group tables, group users."""
    data = load("planted", k_core=0, seed=0)
    settings = AlgorithmSettings()
    method = GFMFR(settings, data.train,
                   FeatureViews(data.features, data.num_items, settings), rounds=20, seed=0)
    state = replace(method.initial_state(), round=settings.groups.start_round)
    k = settings.groups.groups
    totals = {r.name: torch.rand(r.shape, generator=torch.Generator().manual_seed(1))
              for r in method.releases}
    totals["group_count"] = torch.tensor([200.0, 90.0] + [7.0] * (k - 2))

    def after(noise: float, sums: dict[str, torch.Tensor]) -> ServerState:
        method.server.fusion = Server(
            settings, method.backbone, FeatureViews(data.features, data.num_items, settings),
            0).fusion
        return method.step(state, Totals(sums, {}, 300.0, {"group_count": noise}))

    changed = {n: x.clone() for n, x in totals.items()}
    for name in ("group_item_update", "group_user"):
        changed[name][2:] += 1.0
    for noise, same in ((0.0, False), (1.0, True)):
        one, two = after(noise, totals), after(noise, changed)
        assert one.adapters is not None and two.adapters is not None
        assert one.group_users is not None and two.group_users is not None
        assert torch.equal(one.adapters, two.adapters) == same
        assert torch.equal(one.group_users, two.group_users) == same


def test_all_clients_in_one_group_and_no_clients() -> None:
    signals = torch.ones(5, 3)
    for counts, total in (
        (torch.tensor([5.0, 0.0]), torch.stack([signals.sum(0), torch.zeros(3)])),
        (torch.zeros(2), torch.zeros(2, 3)),
    ):
        now = Centroids(unit(torch.eye(2, 3)), torch.zeros(3))
        assert torch.isfinite(lloyd_step(now, counts, total, 2).centres).all()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=30))
def test_alignment_only_renames(labels: list[tuple[int, int]]) -> None:
    before, now = (np.array(x) for x in zip(*labels, strict=True))
    out = align(before, now)
    assert len({*zip(now.tolist(), out.tolist(), strict=True)}) == len(set(now.tolist()))
    assert len(set(out.tolist())) == len(set(now.tolist()))
    assert (align(now, now) == now).all()


@pytest.mark.parametrize("module", ["sum", "mlp", "gate", "moe", "attention"])
@pytest.mark.parametrize("modalities", [("text", "image"), ("audio",), ()])
def test_every_module_learns_with_any_modalities(
    module: str, modalities: tuple[str, ...]
) -> None:
    g = torch.Generator().manual_seed(0)
    features = {name: torch.randn(12, 6, generator=g) for name in modalities}
    target = torch.randn(3, 1, 4, generator=g).expand(3, 12, 4)
    fusion = Fusion(FusionSettings(module=module, epochs=1), 3, features, 5, 4, seed=0)
    first = fusion.fit(target)[1]
    for _ in range(60):
        fused, last = fusion.fit(target)
    assert fused.shape == (3, 12, 4)
    assert last < 0.7 * first


def test_fusion_starts_from_its_seed_alone() -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    one = Fusion(FusionSettings(), 2, {}, 3, 4, seed=9).network()
    torch.manual_seed(6)
    assert torch.equal(one, Fusion(FusionSettings(), 2, {}, 3, 4, seed=9).network())
    torch.manual_seed(5)
    Fusion(FusionSettings(), 2, {}, 3, 4, seed=9)
    assert torch.equal(torch.random.get_rng_state(), state), "the global stream must not move"


def test_neighbours_are_the_nearest_and_weights_sum_to_one() -> None:
    matrix = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    near = Neighbours(matrix, 5, 0.1)
    cosine = matrix @ matrix.T / np.outer(*[np.linalg.norm(matrix, axis=1)] * 2)
    np.fill_diagonal(cosine, -2)
    for item in range(30):
        assert set(near.index[item].tolist()) == set(np.argsort(-cosine[item])[:5].tolist())
    torch.testing.assert_close(near.weight.sum(1), torch.ones(30))
    torch.testing.assert_close(near.mean(torch.ones(30, 2)), torch.ones(30, 2))


@pytest.mark.parametrize("shape", [(20, 7), (7, 20)])
def test_principal_components(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape)
    ours = principal(matrix, 3)
    u, s, _ = np.linalg.svd(matrix - matrix.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(ours), np.abs(u[:, :3] * s[:3]), rtol=1e-4, atol=1e-5)


def test_selecting_modalities() -> None:
    have = {"text": np.ones((2, 2)), "image": np.ones((2, 2))}
    assert set(select(have, "all")) == {"text", "image"}
    assert select(have, "none") == {}
    assert set(select(have, ("image",))) == {"image"}
    with pytest.raises(ValueError, match="no smell features; it has image, text"):
        select(have, ("smell",))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"groups": {"grouping": "reference"}}, "groups.grouping"),
        ({"groups": {"grouping": "none"}, "distillation": {"weight": 1.0}}, "distillation.weight"),
        ({"distillation": {"teacher": "mean_head"}}, "distillation.teacher"),
        ({"model": {"backbone": "fedrap"}, "distillation": {"teacher": "mean_head"}},
         "distillation.teacher"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    change: dict[str, dict[str, object]], field: str
) -> None:
    chosen = AlgorithmSettings.model_validate(change)
    data = planted(DATA_SEED, PlantedShape(users=8, items=30, train_items=4))
    with pytest.raises(ValueError, match=field):
        GFMFR(chosen, data.train, FeatureViews({}, 30, chosen), 3, seed=0)
