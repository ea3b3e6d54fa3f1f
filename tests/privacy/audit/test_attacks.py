"""Attacks have teeth where nothing protects, and lose them where something does.

Most are run on what the real client of GFMFR uploads, on planted data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import pytest

from privacy import (
    Cohort,
    Everyone,
    GaussianNoise,
    JointClip,
    Ledger,
    PrivacyStack,
    SimulationSource,
    Totals,
    Touched,
    Uploads,
    calibrate,
    chain,
)
from privacy.accounting import gaussian_epsilon
from privacy.audit import (
    Attack,
    AttackMatrix,
    AuditError,
    AuditPlan,
    AuditSource,
    Cell,
    Claim,
    audit_mechanism,
    best_auc,
    best_gaussian_auc,
    group_from_size,
    group_from_support,
    measure,
    presence,
    row_geometry,
    rows_in_difference,
    rows_in_sum,
    sabotage,
    signed_rows,
    touched_rows,
)
from privfedmm.data import DATA_SEED, Dataset, PlantedShape, planted
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.settings import backbone_only, default_settings

USERS = 100


def cell(attack: Attack, claim: Claim | None = None, chance: float = 0.5) -> Cell:
    return measure("mode", "attack", attack, AuditSource(1), claim, chance)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted(DATA_SEED, PlantedShape(users=USERS, items=200, train_items=10))


def algorithm_of(data: Dataset, backbone: str) -> GFMFR:
    settings = backbone_only(default_settings(backbone))
    return GFMFR(settings, data.train, FeatureViews({}, data.num_items, settings), 5, 0)


@pytest.fixture(scope="module", params=["mf", "fedrap"])
def seen(data: Dataset, request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """First-round item updates [users, items, width] as a plain server gets them, and touched."""
    algorithm = algorithm_of(data, request.param)
    plan, clients = algorithm.plan(algorithm.initial_state()), algorithm.initial_clients()
    width = algorithm.releases[0].shape[1]
    out = np.zeros((USERS, data.num_items, width), dtype=np.float32)
    touched = np.zeros(out.shape[:2], dtype=bool)
    for ids in algorithm.blocks(np.arange(USERS)):
        part = algorithm.local(plan, ids, clients)[0]["item_update"]
        assert isinstance(part, Touched)
        out[ids] = part.dense().numpy()
        row, place = np.nonzero(part.mask.numpy())
        touched[ids[row], part.index.numpy()[row, place]] = True
    return out, touched


@pytest.fixture(scope="module")
def liked(data: Dataset) -> np.ndarray:
    out = np.zeros((USERS, data.num_items), dtype=bool)
    users = np.repeat(np.arange(USERS), data.train.counts)
    out[users, data.train.indices] = True
    return out


def test_touched_rows_of_a_plain_upload_are_read_off(
    seen: tuple[np.ndarray, np.ndarray]
) -> None:
    updates, touched = seen
    found = cell(touched_rows(updates, touched))
    assert found.decided.f1.value > 0.99
    assert found.auc.value > 0.99
    assert found.bound == 1.0


def test_signs_and_angles_part_positives_from_negatives(
    seen: tuple[np.ndarray, np.ndarray], liked: np.ndarray
) -> None:
    """Negatives hide interactions among touched rows; direction gives them away all the same."""
    updates, _ = seen
    hidden = cell(touched_rows(updates, liked))
    signed = cell(signed_rows(updates, liked))
    angles = cell(row_geometry(updates, liked))
    print(f"touched {hidden.auc} F1 {hidden.decided.f1}; signed {signed.auc} F1 "
          f"{signed.decided.f1}; geometry {angles.auc} F1 {angles.decided.f1}; chance F1 "
          f"{signed.chance_f1:.3f}")
    assert hidden.decided.precision.value < 0.3
    for found in (signed, angles):
        assert found.decided.f1.value > 0.9
        assert found.decided.f1.low > found.chance_f1


def sums(rng: np.random.Generator, clients: int, targets: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums in which each target is one of `clients`, all items equally popular."""
    truth = np.stack([rng.permutation(400) < 20 for _ in range(targets)])
    released = []
    for mine in truth:
        total = mine[:, None] * rng.normal(size=(400, 8))
        for _ in range(clients - 1):
            total += (rng.permutation(400) < 100)[:, None] * rng.normal(size=(400, 8))
        released.append(total)
    return np.stack(released), truth


def in_each(released: np.ndarray, truth: np.ndarray) -> Attack:
    parts = [rows_in_sum(r, np.zeros_like(r), t[None])
             for r, t in zip(released, truth, strict=True)]
    scores, guess, real = (np.concatenate([getattr(p, f) for p in parts])
                           for f in ("scores", "guess", "truth"))
    return Attack(scores, guess, real,
                  unit=np.repeat(np.arange(len(truth)), 400))


def test_a_sum_of_many_hides_a_row_that_a_sum_of_few_shows() -> None:
    rng = np.random.default_rng(1)
    alone, many = (cell(in_each(*sums(rng, n, 20))) for n in (1, 200))
    assert alone.decided.f1.value == 1.0
    print(f"sum of 200: {many.auc}, F1 {many.decided.f1}, chance {many.chance_f1:.3f}")
    # 400 true rows: deviation of the AUC about 0.015, of F1 about 0.011.
    assert abs(many.auc.value - 0.5) < 0.06
    assert abs(many.decided.f1.value - many.chance_f1) < 0.045


def test_interactions_in_the_sum_of_real_clients(
    seen: tuple[np.ndarray, np.ndarray], liked: np.ndarray
) -> None:
    """What a sum tells of one of its clients is little beyond what the others' sum tells.

    The items' popularity shows in both, so chance is not 0.5 but what the others give away.
    """
    updates, _ = seen
    total = updates.sum(0)
    zero = np.zeros_like(total)
    found = cell(rows_in_sum(total, zero, liked, shorter=True))
    others = -np.stack([np.linalg.norm(total - mine, axis=1) for mine in updates])
    unit = np.repeat(np.arange(USERS), liked.shape[1])
    blind = cell(Attack(others.reshape(-1), liked.reshape(-1), liked.reshape(-1), unit))
    print(f"sum of {USERS}: {found.auc} F1 {found.decided.f1}, the others' sum: {blind.auc}, "
          f"by length: {cell(rows_in_sum(total, zero, liked)).auc}")
    assert abs(found.auc.value - blind.auc.value) < 0.08
    assert max(found.auc.value, 1 - found.auc.value) < 0.8
    assert found.decided.f1.value < 0.35


def test_two_releases_that_differ_by_one_user(
    seen: tuple[np.ndarray, np.ndarray]
) -> None:
    """Sums hide nobody from whoever holds the sum without her; noise of epsilon 2 does."""
    updates, touched = seen
    total = updates.sum(0)
    targets = np.arange(20)
    without = np.stack([total - updates[k] for k in targets])
    found = cell(rows_in_difference(np.broadcast_to(total, without.shape), without,
                                    touched[targets]))
    assert found.decided.f1.value > 0.98
    rng = np.random.default_rng(2)
    norm = np.linalg.norm(updates.reshape(USERS, -1), axis=1).max()
    z = calibrate(2.0, 1e-5, 2, Everyone(), USERS)
    noisy = cell(rows_in_difference(
        total + rng.normal(size=without.shape) * z * norm,
        without + rng.normal(size=without.shape) * z * norm, touched[targets]))
    assert abs(noisy.auc.value - 0.5) < 0.05


def test_presence_stays_below_what_the_claim_allows() -> None:
    """A target of full norm under the Gaussian mechanism: the best attack, at its own curve.

    4,000 trials: deviation of the AUC 0.009.
    """
    rng = np.random.default_rng(3)
    mu, trials, dims = 1.0, 4000, 50
    updates = rng.normal(size=(trials, dims))
    updates /= np.linalg.norm(updates, axis=1, keepdims=True)
    truth = rng.random(trials) < 0.5
    earlier = rng.normal(size=(trials, dims))
    later = earlier + truth[:, None] * updates + rng.normal(size=(trials, dims)) / mu
    epsilon = gaussian_epsilon(mu, 1e-5)
    found = cell(presence(later, earlier, updates, truth), Claim(epsilon, 1e-5, present=False))
    assert found.auc.value == pytest.approx(best_gaussian_auc(mu), abs=0.036)
    assert found.auc.value < found.bound == best_auc(epsilon, 1e-5)
    bare = cell(presence(earlier + truth[:, None] * updates, earlier, updates, truth))
    assert bare.auc.value == bare.decided.f1.value == 1.0


def test_groups_from_support_and_size() -> None:
    rng = np.random.default_rng(4)
    groups = rng.integers(0, 4, size=200)
    observed = np.zeros((200, 4, 6))
    observed[np.arange(200), groups] = rng.normal(size=(200, 6))
    plain = cell(group_from_support(observed, groups))
    assert plain.auc.value == plain.decided.f1.value == 1.0
    masked = cell(group_from_support(rng.normal(size=observed.shape), groups))
    assert abs(masked.auc.value - 0.5) < 0.08
    known = np.arange(200) < 40
    told = cell(group_from_size(100 + 10 * groups, groups, known, 4))
    assert told.decided.f1.value == 1.0
    equal = cell(group_from_size(np.full(200, 512), groups, known, 4))
    assert (equal.auc.value, equal.decided.f1.value) == (0.5, 0.0)


def test_matrix() -> None:
    attack = in_each(*sums(np.random.default_rng(5), 1, 5))
    source = AuditSource(2)
    matrix = AttackMatrix.of([
        measure("plain", "rows", attack, source),
        measure("private", "rows", attack, source, Claim(1.0, 1e-5)),
        measure("private", "other", attack, source, Claim(1.0, 1e-5, present=False)),
    ])
    assert (matrix.modes, matrix.attacks) == (("plain", "private"), ("rows", "other"))
    assert matrix.cell("plain", "other") is None
    rows, other = matrix.cell("private", "rows"), matrix.cell("private", "other")
    assert rows is not None
    assert other is not None
    assert rows.bound == pytest.approx(best_auc(2.0, 1e-5 * (1 + np.e)))
    assert other.bound == pytest.approx(best_auc(1.0, 1e-5))
    assert json.loads(json.dumps(matrix.to_json()))[0]["decided"]["f1"]["value"] == 1.0
    with pytest.raises(AuditError, match="twice"):
        AttackMatrix(matrix.cells + matrix.cells[:1])


def test_bad_arrays() -> None:
    with pytest.raises(AuditError, match=r"clients, rows, width"):
        touched_rows(np.zeros((3, 4)), np.zeros((3, 4), dtype=bool))
    with pytest.raises(AuditError, match="truth must be bool"):
        touched_rows(np.zeros((3, 4, 2)), np.zeros((3, 4)))
    with pytest.raises(AuditError, match="known client"):
        group_from_size(np.ones(4), np.arange(4), np.arange(4) < 2, 4)
    with pytest.raises(AuditError, match="leaves no trace"):
        presence(np.ones((2, 3)), np.ones((2, 3)), np.zeros((2, 3)), np.ones(2, dtype=bool))


def test_the_real_algorithm_can_be_audited(data: Dataset) -> None:
    """GFMFR's clients beside the canaries, its server fed with the released totals."""
    algorithm = algorithm_of(data, "mf")
    z = calibrate(2.0, 1e-5, 4, Everyone(), USERS)
    mechanism = chain([JointClip(0.5, algorithm.joint_weights), GaussianNoise(z, 0.5)])

    def fresh() -> PrivacyStack:
        return PrivacyStack(algorithm.releases, Ledger(), mechanism=mechanism,
                            source=SimulationSource(1))

    state, clients = algorithm.initial_state(), algorithm.initial_clients()

    def benign(cohort: Cohort, last: Totals | None) -> Iterable[tuple[np.ndarray, Uploads]]:
        nonlocal state
        if last is not None:
            state = algorithm.step(state, last)
        plan = algorithm.plan(state)
        for ids in algorithm.blocks(cohort.ids):
            yield ids, algorithm.local(plan, ids, clients)[0]

    plan = AuditPlan(clients=USERS, rounds=4, delta=1e-5, canaries=200)
    honest = audit_mechanism(fresh, benign, plan, AuditSource(5))
    broken = audit_mechanism(lambda: sabotage(fresh(), "noise_off"), benign, plan, AuditSource(5))
    assert honest.passed
    assert set(broken.violations) == set(broken.bounds)
