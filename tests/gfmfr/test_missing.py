"""Items that lack a modality: masks in views, neighbours, fusion, methods and baselines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from privfedmm.base.features import Neighbours, joined, joined_present, principal, unit_rows
from privfedmm.baselines import baseline_metrics
from privfedmm.data import DATA_SEED, DataError, Dataset, PlantedShape, drop_features, planted
from privfedmm.evaluation import EvalProtocol, evaluate
from privfedmm.federation import Simulator, run_round
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.fusion import Fusion
from privfedmm.gfmfr.settings import AlgorithmSettings, FusionSettings


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted(DATA_SEED, PlantedShape(users=60, items=80, train_items=10))


def test_what_a_missing_row_holds_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(2.0, 1.0, (20, 5)).astype(np.float32)
    mask = rng.random(20) > 0.4
    other = np.where(mask[:, None], matrix, 1e6).astype(np.float32)
    np.testing.assert_array_equal(unit_rows(matrix, mask), unit_rows(other, mask))
    np.testing.assert_array_equal(principal(matrix, 3, mask), principal(other, 3, mask))
    assert not unit_rows(matrix, mask)[~mask].any()
    # The rest is what it is in a table of its own.
    np.testing.assert_allclose(unit_rows(matrix, mask)[mask], unit_rows(matrix[mask]), atol=1e-5)


def test_nothing_missing_is_the_same_to_the_bit(data: Dataset) -> None:
    full = {n: np.ones(data.num_items, dtype=bool) for n in data.features}
    settings = AlgorithmSettings()
    plain = FeatureViews(data.features, data.num_items, settings)
    empty = FeatureViews(data.features, data.num_items, settings, {})
    assert plain.joined is not None and empty.joined is not None
    assert torch.equal(plain.joined, empty.joined)
    assert joined_present(data.features, {}) is None
    # Masks that miss nothing go another way to the same numbers, but for rounding.
    masked = joined(data.features, 0.5, full)
    np.testing.assert_allclose(masked, plain.joined.numpy(), atol=1e-5)


def test_an_item_without_features_is_nobodys_neighbour() -> None:
    matrix = np.random.default_rng(2).normal(size=(9, 4)).astype(np.float32)
    matrix[[2, 5]] = 0
    near = Neighbours(matrix, 4, 0.1)
    table = torch.eye(9)
    mean = near.mean(table)
    assert not mean[[2, 5]].any()
    assert not mean[:, [2, 5]].any()
    assert torch.allclose(mean[[0, 1, 3, 4, 6, 7, 8]].sum(1), torch.ones(7), atol=1e-5)
    matrix[1:] = 0
    assert torch.isfinite(Neighbours(matrix, 4, 0.1).weight).all()


@pytest.mark.parametrize("module", ["sum", "mlp", "gate", "moe", "attention"])
def test_fusion_reads_the_mask_and_not_the_row(module: str) -> None:
    g = torch.Generator().manual_seed(0)
    features = {"text": torch.randn(12, 6, generator=g), "image": torch.randn(12, 6, generator=g)}
    mask = {"image": torch.arange(12) % 3 > 0}
    other = {**features, "image": torch.where(
        mask["image"][:, None], features["image"], torch.tensor(99.0))}
    target = torch.randn(3, 12, 4, generator=g)
    settings = FusionSettings.model_validate({"module": module})
    first = Fusion(settings, 3, features, 5, 4, 0, mask)
    second = Fusion(settings, 3, other, 5, 4, 0, mask)
    for _ in range(3):
        assert torch.equal(first.fit(target)[0], second.fit(target)[0])
    absent = first.network.fusion.get_parameter("vis_absent")
    assert bool(absent.abs().sum() > 0), "the vector that stands for nothing is learnt"


def test_without_masks_the_network_is_as_it_was() -> None:
    features = {"text": torch.ones(4, 3)}
    network = Fusion(FusionSettings(), 2, features, 3, 4, 0).network
    assert not [name for name, _ in network.named_parameters() if "absent" in name]


def test_cold_targets_do_not_move_the_fusion() -> None:
    g = torch.Generator().manual_seed(1)
    features, target = {"text": torch.randn(10, 4, generator=g)}, torch.randn(2, 10, 3, generator=g)
    cold = torch.arange(10) >= 7
    other = torch.where(cold[:, None], torch.tensor(50.0), target)
    one = Fusion(FusionSettings(), 2, features, 3, 3, 0, None, cold)
    two = Fusion(FusionSettings(), 2, features, 3, 3, 0, None, cold)
    assert torch.equal(one.fit(target)[0], two.fit(other)[0])


def test_a_saved_fusion_does_not_go_on_training() -> None:
    fusion = Fusion(FusionSettings(), 2, {}, 3, 4, seed=0)
    target = torch.ones(2, 5, 4)
    before, _ = fusion.fit(target)
    saved = fusion.state_dict()
    fusion.fit(-target)
    fusion.load_state_dict(saved)
    assert torch.equal(fusion.tables().expand_as(target), before)


def play(data: Dataset, rounds: int = 8) -> tuple[GFMFR, float]:
    from privfedmm.config import resolve
    from privfedmm.runs.session import Session

    session = Session.start(resolve(
        None, {"rounds": rounds, "algorithm.opening.on": False}), data)
    for number in range(rounds):
        session.state, _ = run_round(session.algorithm, Simulator(), session.stack, session.state,
                                     session.clients, data.num_users, number)
    result = evaluate(
        lambda ids: session.algorithm.scores(session.state, session.clients, ids).numpy(),
        data.train, {"test": data.test}, EvalProtocol())
    assert isinstance(session.algorithm, GFMFR)
    return session.algorithm, result.metrics["test"]["ndcg@50"]


@pytest.mark.parametrize("rate", [0.3, 0.7, 0.97])
def test_training_and_baselines_stay_finite(data: Dataset, rate: float) -> None:
    """`evaluate` refuses NaN; at 97% whole users know nothing but items without features."""
    sparse = drop_features(data, rate, 1)
    algorithm, accuracy = play(sparse)
    assert accuracy > 0
    assert algorithm.server.fusion is not None
    assert torch.isfinite(algorithm.server.fusion.tables()).all()
    lines = baseline_metrics(sparse, ["public_features", "popularity_profile"], 0, EvalProtocol())
    assert len(lines) == 2
    assert sparse.missing["every"] == int((~np.any(list(sparse.present.values()), axis=0)).sum())


def test_one_modality_of_another_kind_trains(data: Dataset) -> None:
    audio = replace(data, features={"audio": data.features["image"]},
                    present={"audio": np.arange(data.num_items) % 4 > 0})
    assert play(audio, 3)[1] > 0


def test_without_any_modality_groups_go_by_user_vectors(data: Dataset) -> None:
    algorithm, accuracy = play(replace(data, features={}), 8)
    signal = next(r for r in algorithm.releases if r.name == "group_signal")
    assert accuracy > 0 and signal.shape[1] == AlgorithmSettings().model.dim


def test_dropping_is_seeded_and_as_frequent_as_asked(data: Dataset) -> None:
    """80 items, two modalities: the count is binomial, 5 standard deviations wide."""
    one, two = drop_features(data, 0.4, 3), drop_features(data, 0.4, 3)
    assert one.sha256 == two.sha256 != data.sha256 != drop_features(data, 0.4, 4).sha256
    for name, mask in one.present.items():
        assert abs((~mask).sum() - 32) < 5 * (80 * 0.4 * 0.6) ** 0.5
        assert not one.features[name][~mask].any()
        assert (one.features[name][mask] == data.features[name][mask]).all()
    with pytest.raises(DataError, match="no item would be left"):
        drop_features(data, 0.9999, 0)
