from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from privfedmm.data import DATA_SEED, PlantedShape, planted
from privfedmm.features import Neighbours, principal, select
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.fusion import Fusion
from privfedmm.gfmfr.grouping import Centroids, align, assign, initial_centroids, lloyd_step
from privfedmm.gfmfr.views import FeatureViews
from privfedmm.settings import AlgorithmSettings, FusionSettings


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
    fusion = Fusion(FusionSettings(module=module, epochs=1), 3, features, 5, 4, seed=0)  # type: ignore[arg-type]
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
