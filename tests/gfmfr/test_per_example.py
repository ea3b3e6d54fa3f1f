"""Noise per interaction on the device: one example each, clipped and noised as Opacus would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from privacy import (
    ChainError,
    Charge,
    Everyone,
    GaussianNoise,
    JointClip,
    Ledger,
    LedgerError,
    OnDevice,
    Poisson,
    PricingError,
    PrivacyStack,
    SimulationSource,
    SystemSource,
    UploadError,
    calibrate,
    chain,
    epsilon,
)
from privacy.accounting import INTERACTION
from privfedmm.backbones import build
from privfedmm.base.settings import LocalSettings
from privfedmm.data import DATA_SEED, Dataset, PlantedShape, planted
from privfedmm.data.types import Rows
from privfedmm.federation import Simulator, TrainsOnDevice, run_round
from privfedmm.gfmfr.algorithm import GFMFR
from privfedmm.gfmfr.client import Rates
from privfedmm.gfmfr.examples import Directions, Examples, draw_examples, train_examples
from privfedmm.gfmfr.feature_views import FeatureViews
from privfedmm.gfmfr.per_example import PerExample
from privfedmm.gfmfr.settings import AlgorithmSettings, backbone_only, private_updates

DIM, ITEMS = 5, 30
RATE = Rates(user=0.05, items=0.1, network=0.0, alpha=0.0, beta=0.0)
STILL = LocalSettings(epochs=1, weight_decay_user=0.0)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted(DATA_SEED, PlantedShape(users=30, items=50, train_items=7))


def device(multiplier: float, clip_norm: float = 1.0, steps: int = 1, seed: int = 0) -> OnDevice:
    return OnDevice(multiplier, clip_norm, steps, SimulationSource(seed))


def problem(clients: int = 3) -> tuple[Tensor, Tensor, Examples, Tensor]:
    """User vectors, table, examples with a name twice in one and padding in another, a basis."""
    g = torch.Generator().manual_seed(2)
    user, table = torch.randn(clients, DIM, generator=g), torch.randn(ITEMS, DIM + 1, generator=g)
    items = torch.randint(ITEMS, (clients, 6, 4), generator=g)
    items[0, 0] = torch.tensor([3, 8, 8, 3])
    mask = torch.ones(clients, 6)
    mask[1:2, 4:] = 0
    basis = torch.linalg.qr(torch.randn(ITEMS, 9, generator=g)).Q
    return user, table, Examples(np.arange(clients), items, mask), basis


class Client(nn.Module):
    """One client's model, in layers that Opacus can follow; the basis maps W to the table."""

    def __init__(self, user: Tensor, table: Tensor, basis: Tensor | None) -> None:
        super().__init__()
        self.user = nn.Embedding.from_pretrained(user[None].clone(), freeze=False)
        self.table, self.basis = table, basis
        rank = len(table) if basis is None else basis.shape[1]
        # Row i of the change of the table is row i of the basis times W: a linear layer.
        self.change = nn.Linear(rank, table.shape[1], bias=False)
        nn.init.zeros_(self.change.weight)

    def forward(self, items: Tensor) -> Tensor:
        eye = torch.eye(len(self.table)) if self.basis is None else self.basis
        rows = self.table[items] + self.change(eye[items])
        user = self.user(torch.zeros(len(items), 1, dtype=torch.long))
        return (rows[:, :, :-1] * user).sum(2) + rows[:, :, -1]


def opacus_sums(
    user: Tensor, table: Tensor, basis: Tensor | None, items: Tensor, clip_norm: float,
    multiplier: float = 0.0, seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Summed clipped gradients of a client, user [d] and change [r, width], by Opacus."""
    model = GradSampleModule(Client(user, table, basis), loss_reduction="sum")
    optimiser = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=1.0), noise_multiplier=multiplier,
        max_grad_norm=clip_norm, expected_batch_size=len(items), loss_reduction="sum",
        generator=torch.Generator().manual_seed(seed))
    label = torch.zeros(items.shape)
    label[:, 0] = 1.0
    functional.binary_cross_entropy_with_logits(model(items), label, reduction="sum").backward()
    optimiser.pre_step()
    found = dict(model._module.named_parameters())
    return found["user.weight"].grad[0], found["change.weight"].grad.T


@pytest.mark.parametrize("subspace", [False, True])
@pytest.mark.parametrize("clip_norm", [0.4, 1.5, 1e6])
@pytest.mark.filterwarnings("ignore:Full backward hook:UserWarning")
def test_clipped_sums_are_those_of_opacus(subspace: bool, clip_norm: float) -> None:
    user, table, examples, basis = problem()
    chosen = basis if subspace else None
    trained = train_examples(
        build("mf", DIM), user, table, chosen, examples, device(0.0, clip_norm), STILL, RATE, 0)
    for client in range(3):
        used = examples.items[client][examples.mask[client] > 0]
        by_user, by_change = opacus_sums(user[client], table, chosen, used, clip_norm)
        ours = (user[client] - trained.user[client]) / RATE.user
        torch.testing.assert_close(ours, by_user, rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(
            -trained.change[client] / RATE.items, by_change, rtol=1e-5, atol=1e-5)


def test_no_example_is_longer_than_the_clip() -> None:
    user, table, examples, basis = problem(1)
    for chosen in (None, basis):
        for place in range(6):
            single = Examples(examples.ids, examples.items[:, place : place + 1],
                              torch.ones(1, 1))
            trained = train_examples(build("mf", DIM), user, table, chosen, single,
                                     device(0.0, 0.3), STILL, RATE, 0)
            by_user = ((user - trained.user) / RATE.user).double()
            by_change = (trained.change / RATE.items).double()
            assert (by_user.square().sum() + by_change.square().sum()).sqrt() <= 0.3 * (1 + 1e-5)


@pytest.mark.filterwarnings("ignore:Full backward hook:UserWarning")
def test_the_noise_is_of_the_scale_of_opacus_on_every_value() -> None:
    """Both against N(0, (z C)^2): two tests of false-alarm rate 1e-4 each, and one of equal scale.
    """
    z, clip = 2.5, 0.4
    user, table, examples, _ = problem(1)
    ours, theirs = [], []
    for seed in range(12):
        quiet = train_examples(build("mf", DIM), user, table, None, examples, device(0.0, clip),
                               STILL, RATE, 0)
        loud = train_examples(build("mf", DIM), user, table, None, examples,
                              device(z, clip, seed=seed), STILL, RATE, 0)
        ours.append(torch.cat([((quiet.user - loud.user) / RATE.user).flatten(),
                               ((quiet.change - loud.change) / RATE.items).flatten()]))
        exact = opacus_sums(user[0], table, None, examples.items[0], clip)
        noisy = opacus_sums(user[0], table, None, examples.items[0], clip, z, seed)
        theirs.append(torch.cat([(a - b).flatten() for a, b in zip(noisy, exact, strict=True)]))
    one, two = torch.stack(ours).double().numpy(), torch.stack(theirs).double().numpy()
    assert one.shape == (12, DIM + ITEMS * (DIM + 1)) and (one != 0).all()
    for drawn in (one, two):
        assert stats.kstest(drawn.reshape(-1) / (z * clip), "norm").pvalue > 1e-4
    ratio = one.std() / two.std()
    # Standard deviation of the ratio: 1 / sqrt(12 x 185) = .021.
    assert abs(ratio - 1) < 0.09


def test_no_noise_and_a_huge_clip_is_plain_training() -> None:
    """Full-batch gradient descent by autograd on the same samples, three steps."""
    user, table, examples, basis = problem()
    settings = LocalSettings(epochs=3, weight_decay_user=0.5)
    for chosen in (None, basis):
        trained = train_examples(build("mf", DIM), user, table, chosen, examples,
                                 device(0.0, 1e9, steps=3), settings, RATE, 0)
        u = user.clone()
        w = torch.zeros(3, ITEMS if chosen is None else 9, DIM + 1)
        eye = torch.eye(ITEMS) if chosen is None else chosen
        label = torch.zeros(4)
        label[0] = 1.0
        for _ in range(3):
            u, w = u.detach().requires_grad_(), w.detach().requires_grad_()
            full = table[None] + eye @ w
            rows = full[torch.arange(3)[:, None, None], examples.items]
            logits = torch.einsum("mpld,md->mpl", rows[..., :-1], u) + rows[..., -1]
            bce = functional.binary_cross_entropy_with_logits(
                logits, label.expand_as(logits), reduction="none").sum(2)
            by_u, by_w = torch.autograd.grad((bce * examples.mask).sum(), [u, w])
            u = u * (1 - RATE.user * 0.5) - RATE.user * by_u
            w = w - RATE.items * by_w
        torch.testing.assert_close(trained.user, u.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(trained.change, w.detach(), rtol=1e-4, atol=1e-5)


def test_an_unusable_example_counts_as_none() -> None:
    user, table, examples, basis = problem(1)
    spoiled = table.clone()
    lonely = int(examples.items[0, 2, 0])
    keep = ~(examples.items[0] == lonely).any(1)
    spoiled[lonely] = float("nan")
    for chosen in (None, basis):
        got = train_examples(build("mf", DIM), user, spoiled, chosen, examples, device(0.0),
                             STILL, RATE, 0)
        rest = Examples(examples.ids, examples.items, examples.mask * keep)
        want = train_examples(build("mf", DIM), user, table, chosen, rest, device(0.0), STILL,
                              RATE, 0)
        torch.testing.assert_close(got.user, want.user)
        torch.testing.assert_close(got.change, want.change)


def test_leaving_one_interaction_out_changes_one_example(data: Dataset) -> None:
    train, ids = data.train, np.array([4, 9])
    whole = draw_examples(train, ids, data.num_items, 4, seed=3, round_=2)
    gone = train.indptr[9] + 2
    kept = np.delete(train.indices, gone)
    counts = train.counts.copy()
    counts[9] -= 1
    less = Rows(np.concatenate([[0], np.cumsum(counts)]), kept)
    part = draw_examples(less, ids, data.num_items, 4, seed=3, round_=2)
    before = [whole.items[1, k].tolist() for k in range(train.counts[9])]
    after = [part.items[1, k].tolist() for k in range(counts[9])]
    assert after == before[:2] + before[3:]
    assert torch.equal(whole.items[0][whole.mask[0] > 0], part.items[0][part.mask[0] > 0])


def test_negatives_are_uniform_over_the_other_items(data: Dataset) -> None:
    """Positives of the user included; false-alarm rate 1e-4."""
    drawn = [draw_examples(data.train, np.array([0]), data.num_items, 40, 1, t)
             for t in range(60)]
    used = torch.cat([e.items[0][e.mask[0] > 0] for e in drawn])
    assert not (used[:, 1:] == used[:, :1]).any(), "never the positive itself"
    other = used[used[:, 0] == int(data.train.row(0)[0])][:, 1:]
    counts = np.bincount(other.flatten().numpy(), minlength=data.num_items)
    counts = np.delete(counts, data.train.row(0)[0])
    assert stats.chisquare(counts).pvalue > 1e-4


def test_the_bound_of_a_step_is_the_clip(data: Dataset) -> None:
    """One interaction less moves the noiseless sums of a step by at most clip_norm, and by about
    that much where the clip binds."""
    user, table, examples, basis = problem(1)
    for chosen in (None, basis):
        whole = train_examples(build("mf", DIM), user, table, chosen, examples, device(0.0, 0.3),
                               STILL, RATE, 0)
        for place in range(6):
            mask = examples.mask.clone()
            mask[0, place] = 0
            less = train_examples(build("mf", DIM), user, table, chosen,
                                  replace(examples, mask=mask), device(0.0, 0.3), STILL, RATE, 0)
            moved = ((whole.user - less.user) / RATE.user).square().sum() + (
                (whole.change - less.change) / RATE.items).square().sum()
            assert 0.29 < float(moved.sqrt()) <= 0.3 * (1 + 1e-4)


def test_an_item_named_twice_is_one_row() -> None:
    _, _, examples, _ = problem(1)
    residual = torch.ones(1, 6, 4)
    squared = Directions(None, ITEMS, examples.items).squared_norms(residual)
    for place in range(6):
        dense = torch.bincount(examples.items[0, place], minlength=ITEMS).double()
        assert float(squared[0, place]) == pytest.approx(float(dense.square().sum()))


# Prices ---------------------------------------------------------------------------------


def charge(z: float, steps: int, round_: int = 0) -> Charge:
    return Charge(round=round_, name="local_training", event=INTERACTION, noise_multiplier=z,
                  clip_norm=1.0, sampling_rate=1.0, population=10, cohort=10, steps=steps)


def test_steps_are_composed_and_every_accountant_agrees() -> None:
    ledger = Ledger()
    z = calibrate(8.0, 1e-5, 24, Everyone(), 10)
    for round_ in range(8):
        ledger.charge(charge(z, 3, round_))
    assert ledger.spent(1e-5) == pytest.approx(8.0, abs=1e-6)
    assert epsilon(ledger.entries, 1e-5, "pld") == pytest.approx(8.0, abs=1e-3)
    # Opacus reports the upper end of an interval whose half-width is .01.
    assert epsilon(ledger.entries, 1e-5, "prv") - 0.01 == pytest.approx(8.0, abs=1e-2)
    assert 8.0 < epsilon(ledger.entries, 1e-5, "rdp") < 9.0
    again = Ledger.from_json(ledger.to_json())
    assert [e.steps for e in again.entries] == [3] * 8


def test_steps_cannot_be_made_up() -> None:
    ledger = Ledger()
    with pytest.raises(LedgerError, match="one step"):
        ledger.charge(replace(charge(1.0, 3), event="Gaussian"))
    with pytest.raises(PricingError, match="no step"):
        epsilon([ledger.charge(charge(1.0, 0))], 1e-5)
    rows = Ledger()
    rows.charge(charge(1.0, 3))
    cheaper = [{**rows.to_json()[0], "steps": 1}]
    with pytest.raises(LedgerError, match="does not follow"):
        Ledger.from_json(cheaper)


def test_ledgers_from_before_steps_were_counted_still_hold() -> None:
    ledger = Ledger()
    ledger.charge(replace(charge(4.0, 1), event="Gaussian"))
    old = [{k: v for k, v in row.items() if k != "steps"} for row in ledger.to_json()]
    assert Ledger.from_json(old).entries == ledger.entries


# The algorithm --------------------------------------------------------------------------


def settings_of(features: bool, epochs: int = 2) -> AlgorithmSettings:
    base = AlgorithmSettings()
    base = base.model_copy(update=private_updates(base))
    base = base.model_copy(
        update={"local": base.local.model_copy(update={"epochs": epochs})})
    return base if features else backbone_only(base)


def algorithm(data: Dataset, noise: OnDevice, features: bool, rank: int = 0) -> PerExample:
    settings = settings_of(features, noise.steps)
    views = FeatureViews(data.features if features else {}, data.num_items, settings)
    return PerExample(settings, data.train, views, 4, 0, noise, rank)


class Kept:
    """A vault in memory, as durable as a file: what it holds is a copy."""

    def __init__(self) -> None:
        self.round, self.sums = -1, {}  # type: ignore[var-annotated]

    def put(self, round_, sums) -> None:  # type: ignore[no-untyped-def]
        self.round, self.sums = round_, {n: x.clone() for n, x in sums.items()}

    def get(self, round_):  # type: ignore[no-untyped-def]
        return self.sums if self.round == round_ else None


@pytest.mark.parametrize("rank", [0, 6])
def test_rounds_leave_nothing_but_noisy_sums(data: Dataset, rank: int) -> None:
    noise = device(3.0, steps=2)
    method = algorithm(data, noise, bool(rank), rank)
    assert isinstance(method, TrainsOnDevice)
    stack = PrivacyStack(method.releases, Ledger(), on_device=noise, vault=Kept())
    state, clients = method.initial_state(), method.initial_clients()
    for round_ in range(3):
        state, report = run_round(method, Simulator(), stack, state, clients, 30, round_)
        assert [(e.event, e.steps, e.noise_multiplier) for e in report.entries] == [
            (INTERACTION, 2, 3.0)]
    assert state.round == 3 and state.items.shape == (50, 33)
    plan = method.plan(state)
    uploads, _ = method.local(plan, np.array([0, 1]), clients)
    (part,) = uploads.values()
    assert bool((part.dense() != 0).all()), "every value carries noise, touched or not"
    assert part.shape() == ((7 if rank else 50), 33)


def test_the_home_vector_feeds_no_upload(data: Dataset) -> None:
    method = algorithm(data, device(3.0, steps=2), True, 6)
    plan, ids = method.plan(method.initial_state()), np.arange(30)
    one, two = method.initial_clients(), method.initial_clients()
    two.user_average += 7.0
    first, _ = method.local(plan, ids, one)
    second, _ = method.local(plan, ids, two)
    assert torch.equal(first["item_update"].dense(), second["item_update"].dense())
    assert torch.equal(one.user, two.user) and not torch.equal(one.user_average, two.user_average)


def test_a_round_that_was_charged_is_not_trained_into_a_second_release(data: Dataset) -> None:
    noise = OnDevice(3.0, 1.0, 2, SystemSource())
    method, vault, ledger = algorithm(data, noise, True, 6), Kept(), Ledger()
    state, clients = method.initial_state(), method.initial_clients()
    checkpoint = clients.copy()
    stack = PrivacyStack(method.releases, ledger, on_device=noise, vault=vault)
    after, _ = run_round(method, Simulator(), stack, state, clients, 30, 0)
    resumed = PrivacyStack(method.releases, Ledger.from_json(ledger.to_json()), on_device=noise,
                           vault=vault)
    again, _ = run_round(method, Simulator(), resumed, state, checkpoint, 30, 0)
    assert torch.equal(again.items, after.items)
    assert torch.equal(checkpoint.user, clients.user), "the devices' noisy state is put back"
    assert len(resumed.ledger.entries) == 1
    vault.sums = {n: x for n, x in vault.sums.items() if "user" not in n}
    with pytest.raises(UploadError, match="second release"):
        run_round(method, Simulator(), resumed, state, checkpoint, 30, 0)


def test_wrong_stacks_and_settings_are_refused(data: Dataset) -> None:
    noise = device(3.0, steps=2)
    method = algorithm(data, noise, False)
    with pytest.raises(ChainError, match="full participation"):
        PrivacyStack(method.releases, Ledger(), Poisson(0.5), on_device=noise)
    twice = chain([JointClip(1.0, method.joint_weights), GaussianNoise(1.0, 1.0)])
    with pytest.raises(ChainError, match="must be None"):
        PrivacyStack(method.releases, Ledger(), mechanism=twice, on_device=noise)
    plain = GFMFR(settings_of(False), data.train,
                  FeatureViews({}, data.num_items, settings_of(False)), 4, 0)
    for other, its in ((plain, noise), (method, None), (method, device(3.0, steps=2))):
        stack = PrivacyStack(other.releases, Ledger(), on_device=its)
        with pytest.raises(ChainError, match="do not add"):
            run_round(other, Simulator(), stack, other.initial_state(), other.initial_clients(),
                      30, 0)
        assert not stack.ledger.entries
    for bad in ({"multiplier": -1.0}, {"multiplier": 1.0, "clip_norm": 0.0},
                {"multiplier": 1.0, "steps": 0}):
        with pytest.raises(ChainError):
            device(**bad)  # type: ignore[arg-type]
    base = settings_of(False)
    views = FeatureViews({}, data.num_items, base)
    with pytest.raises(ValueError, match="priced for 5 steps"):
        PerExample(base, data.train, views, 4, 0, device(1.0, steps=5))
    wrong: dict[str, dict[str, dict[str, Any]]] = {
        "local.batch_size": {"local": {"batch_size": 8}},
        "local.loss": {"local": {"loss": "mean"}},
        "local.negatives": {"local": {"negatives": "first"}},
        "local.alpha": {"local": {"beta": 0.1}},
        "local.weight_decay_items": {"local": {"weight_decay_items": 0.1}},
        "model.private_table": {"model": {"private_table": "zero"}},
        "model.backbone": {"model": {"backbone": "fedrap"}},
        "groups.grouping": {"groups": {"grouping": "private"}},
    }
    for name, change in wrong.items():
        values = base.model_dump()
        for section, over in change.items():
            values[section] |= over
        with pytest.raises(ValueError, match=name):
            PerExample(AlgorithmSettings.model_validate(values), data.train, views, 4, 0, noise)
