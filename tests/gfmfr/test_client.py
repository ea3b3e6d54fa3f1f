"""Client training: against autograd, one client or many, and what stays untouched."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from experiments.benchmarks.client_loop import train_round
from privacy import Ledger, LowRank, PrivacyStack, Touched
from privfedmm.backbones import BACKBONES, build
from privfedmm.base.settings import LocalSettings
from privfedmm.data import DATA_SEED, Dataset, PlantedShape, planted
from privfedmm.devices.samples import blocks, draw_samples, padded_length, sample_counts
from privfedmm.federation import Simulator
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.client import Local, Rates, Teacher, train
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.settings import AlgorithmSettings, backbone_only


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted(DATA_SEED, PlantedShape(users=40, items=60, train_items=8))


def algorithm_of(data: Dataset, settings: AlgorithmSettings, seed: int = 0) -> GFMFR:
    features = {} if settings.modalities == "none" else data.features
    views = FeatureViews(features, data.num_items, settings)
    return GFMFR(settings, data.train, views, 10, seed)


def test_unknown_backbone() -> None:
    with pytest.raises(ValueError, match="there are mf, fedrap"):
        build("gru", 4)


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("private", [False, True])
def test_one_step_is_a_gradient_step_of_the_stated_loss(loss: str, private: bool) -> None:
    """BCE + regularisers + distillation against autograd on the formula of the docstring."""
    g = torch.Generator().manual_seed(3)
    backbone = build("fedrap", 4)
    user = torch.randn(2, 4, generator=g)
    shared = torch.randn(2, 6, 4, generator=g)
    own = torch.randn(2, 6, 4, generator=g) if private else None
    network = {n: v[None].expand(2, *v.shape).clone()
               for n, v in backbone.initial_network(0).items()}
    labels = (torch.rand(2, 6, generator=g) < 0.4).float()
    target = torch.rand(2, 6, generator=g)
    alpha, beta, weight = (0.3 if private else 0.0), 0.2, 0.7
    leaves = [t.clone().requires_grad_() for t in (user, shared)]
    mine = None if own is None else own.clone().requires_grad_()
    rows = leaves[1] if mine is None else leaves[1] + mine
    logits = backbone.logits(leaves[0], rows, network)
    reduce = (lambda t: t.sum(1)) if loss == "sum" else (lambda t: t.mean(1))
    bce = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    p = torch.sigmoid(logits)
    kl = target * (target / p).log() + (1 - target) * ((1 - target) / (1 - p)).log()
    value = reduce(bce) + weight * reduce(kl) + beta * leaves[1].abs().mean((1, 2))
    if mine is not None:
        value = value - alpha * (mine - leaves[1]).square().mean((1, 2))
    wanted = [*leaves, *([] if mine is None else [mine])]
    gradients = torch.autograd.grad(value.sum(), wanted)

    local = Local(user.clone(), shared.clone(), None if own is None else own.clone(), network)
    settings = LocalSettings(epochs=1, loss=loss, weight_decay_user=0.0)  # type: ignore[arg-type]
    rate = Rates(0.1, 0.2, 0.0, alpha, beta)
    train(backbone, local, labels, torch.ones(2, 6), Teacher(target, weight, False), settings, rate)
    torch.testing.assert_close(local.user, user - 0.1 * gradients[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(local.shared, shared - 0.2 * gradients[1], rtol=1e-4, atol=1e-5)
    if own is not None and local.private is not None:
        torch.testing.assert_close(local.private, own - 0.2 * gradients[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mf", "fedrap"])
@pytest.mark.parametrize("batch", [0, 16])
def test_blocks_give_the_update_of_a_loop_over_clients(
    data: Dataset, name: str, batch: int
) -> None:
    settings = backbone_only(AlgorithmSettings())
    settings = settings.model_copy(update={
        "model": settings.model.model_copy(update={"backbone": name}),
        "local": settings.local.model_copy(update={"batch_size": batch}),
    })
    algorithm = algorithm_of(data, settings)
    state, clients = algorithm.initial_state(), algorithm.initial_clients()
    users = clients.user.clone()
    stack = PrivacyStack(algorithm.releases, Ledger())
    cohort = stack.draw(data.num_users, 0)
    sums, _ = Simulator().gather(algorithm, algorithm.plan(state), clients, cohort, stack)
    twin = BACKBONES.get(name).twin
    assert twin is not None
    expected = train_round(
        twin, data.train, state.items, users, state.network, settings.local, 0, 0
    )
    torch.testing.assert_close(sums.sums["item_update"], expected, rtol=1e-3, atol=1e-5)


def uploads_of(
    algorithm: GFMFR, groups_of_ids: list[np.ndarray]
) -> tuple[Mapping[int, Tensor], Tensor]:
    state, clients = algorithm.initial_state(), algorithm.initial_clients()
    out: dict[int, Tensor] = {}
    for ids in groups_of_ids:
        uploads, _ = algorithm.local(algorithm.plan(state), ids, clients)
        dense = uploads["item_update"].dense()
        out |= {int(i): dense[row] for row, i in enumerate(ids)}
    return out, clients.user


@pytest.mark.parametrize("name", ["mf", "fedrap"])
def test_a_client_alone_and_in_a_block_uploads_the_same(data: Dataset, name: str) -> None:
    """Streams and shapes are the client's own. To the last bit here; other processors' kernels
    may round by place in the block, so the test allows for that."""
    settings = AlgorithmSettings()
    settings = settings.model_copy(
        update={"model": settings.model.model_copy(update={"backbone": name})}
    )
    algorithm = algorithm_of(data, settings)
    together, users = uploads_of(algorithm, list(algorithm.blocks(np.arange(40))))
    reverse, users_again = uploads_of(algorithm, [np.array([i]) for i in range(39, -1, -1)])
    torch.testing.assert_close(users, users_again, rtol=1e-5, atol=1e-6)
    for client, update in together.items():
        torch.testing.assert_close(update, reverse[client], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_factors_of_an_update_are_the_update(data: Dataset, epochs: int, grouped: bool) -> None:
    settings = AlgorithmSettings() if grouped else backbone_only(AlgorithmSettings())
    local = settings.local.model_copy(update={"epochs": epochs})
    algorithm = algorithm_of(data, settings.model_copy(update={"local": local}))
    ids = next(iter(algorithm.blocks(np.arange(40))))
    uploads, _ = algorithm.local(
        algorithm.plan(algorithm.initial_state()), ids, algorithm.initial_clients())
    update = uploads["item_update"]
    assert isinstance(update, LowRank)
    assert update.left.shape[1] == epochs
    product = torch.bmm(update.left.transpose(1, 2), update.right)
    torch.testing.assert_close(product, update.values, rtol=1e-4, atol=1e-6)
    basis = torch.linalg.qr(torch.randn(60, 8, generator=torch.Generator().manual_seed(0))).Q
    torch.testing.assert_close(
        update.projected(basis).dense(), update.table().projected(basis).dense(),
        rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("change", [
    {"model": {"backbone": "fedrap"}}, {"local": {"batch_size": 16}},
    {"local": {"weight_decay_items": 0.1}}, {"local": {"beta": 0.1}},
    {"local": {"alpha": 0.1}, "model": {"private_table": "zero"}},
], ids=["fedrap", "batches", "decay", "beta", "alpha"])
def test_an_update_that_is_no_sum_of_products_has_no_factors(
    data: Dataset, change: dict[str, dict[str, object]]
) -> None:
    settings = backbone_only(AlgorithmSettings())
    for part, values in change.items():
        settings = settings.model_copy(
            update={part: getattr(settings, part).model_copy(update=values)})
    algorithm = algorithm_of(data, settings)
    uploads, _ = algorithm.local(algorithm.plan(algorithm.initial_state()), np.arange(3),
                                 algorithm.initial_clients())
    assert type(uploads["item_update"]) is Touched


def test_blocks_partition_the_cohort(data: Dataset) -> None:
    counts = np.random.default_rng(0).integers(1, 400, 500)
    seen = np.concatenate(list(blocks(np.arange(500), counts)))
    assert sorted(seen.tolist()) == list(range(500))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 100_000))
def test_padding_is_modest(count: int) -> None:
    length = int(padded_length(np.array([count]))[0])
    assert count <= length <= max(count + 32, int(count * 1.15) + 1)


@pytest.mark.parametrize("scheme", ["fresh", "first"])
def test_samples_are_positives_and_distinct_negatives(data: Dataset, scheme: str) -> None:
    local = LocalSettings(negatives=scheme)  # type: ignore[arg-type]
    ids = np.array([0, 7, 39])
    drawn = draw_samples(data.train, ids, data.num_items, local, 1, 4)
    totals = sample_counts(data.train, data.num_items, 4)[ids]
    for row, client in enumerate(ids):
        used = drawn.mask[row] > 0
        items = drawn.items[row][used].numpy()
        positive = items[drawn.labels[row][used].numpy() == 1]
        negative = items[drawn.labels[row][used].numpy() == 0]
        own = data.train.row(int(client))
        assert len(items) == totals[row] == len(set(items.tolist()))
        assert set(positive.tolist()) == set(own.tolist())
        assert not set(negative.tolist()) & set(own.tolist())
        if scheme == "first":
            free = [i for i in range(data.num_items) if i not in set(own.tolist())]
            assert negative.tolist() == free[: len(negative)]


def test_fresh_negatives_change_with_the_round_and_are_uniform(data: Dataset) -> None:
    ids, local = np.array([3]), LocalSettings()
    counts = np.zeros(data.num_items)
    for round_ in range(300):
        drawn = draw_samples(data.train, ids, data.num_items, local, 0, round_)
        counts[drawn.items[0][(drawn.mask[0] > 0) & (drawn.labels[0] == 0)].numpy()] += 1
    free = np.setdiff1d(np.arange(data.num_items), data.train.row(3))
    share = counts[free] / 300
    # 32 of 52 free items a round; standard error .028; 5 sigma over 52 items: below 1e-4.
    assert np.abs(share - 32 / len(free)).max() < 5 * 0.028


def test_batches_are_a_shuffle(data: Dataset) -> None:
    whole = draw_samples(data.train, np.arange(5), data.num_items, LocalSettings(), 0, 0)
    batched = draw_samples(
        data.train, np.arange(5), data.num_items, LocalSettings(batch_size=8), 0, 0
    )
    assert not torch.equal(whole.items, batched.items)
    for row in range(5):
        assert sorted(whole.items[row].tolist()) == sorted(batched.items[row].tolist())
        kept = batched.positive[row] >= 0
        place = batched.positive[row][kept].numpy()
        np.testing.assert_array_equal(
            data.train.indices[place], batched.items[row][kept].numpy()
        )
