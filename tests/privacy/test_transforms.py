"""Bounds: chains that give no guarantee cannot be built, and no input breaks the clip."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy import (
    ChainError,
    Cohort,
    Dense,
    DistributedNoise,
    GaussianNoise,
    JointClip,
    Ledger,
    PrivacyStack,
    Project,
    Quantise,
    Release,
    SimulationSource,
    Slotted,
    Touched,
    UploadError,
    chain,
)
from privacy.places import Place
from privacy.uploads import Part

WEIGHTS = {"a": 0.5, "b": 2.0}
CLIP = JointClip(1.5, WEIGHTS)
NOISE = GaussianNoise(1.0, 1.5)
SOURCE = SimulationSource(0)


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([NOISE, CLIP], "clip before noise"),
        ([NOISE], "clip before noise"),
        ([CLIP], "needs a clip and a noise"),
        ([CLIP, GaussianNoise(1.0, 1.4)], "made for a bound of 1.4"),
        ([CLIP, NOISE, Quantise(0.1, 4)], "before the noise"),
        ([CLIP, Quantise(0.1, 4), NOISE], "made for a bound"),
        ([Quantise(0.1, 4), CLIP, NOISE], "clip before quantise"),
        ([CLIP, Quantise(0.1, 4), CLIP, NOISE], "clip before quantise"),
        ([CLIP, Project({"b": torch.eye(6)}), NOISE], "project before clip"),
        ([CLIP, NOISE, NOISE], "noise once"),
        ([CLIP, CLIP, NOISE], "occur once"),
        ([CLIP, DistributedNoise(1.0, 1.5, 3)], "quantise before distributed"),
        ([CLIP, Quantise(0.01, 4), DistributedNoise(1.0, 1.5, 3)], "made for a bound"),
        ([CLIP, Quantise(0.5, 4), DistributedNoise(1.0, 3.0, 9)], "raise secure.levels"),
        ([CLIP, Quantise(0.01, 4), GaussianNoise(1.0, 2.0, Place.LOCAL)], "leaves no grid"),
        ([CLIP, Quantise(0.01, 4), DistributedNoise(1.0, 2.0, 3), GaussianNoise(1.0, 2.0)],
         "noise once"),
    ],
)
def test_unsound_chains_cannot_be_built(steps: list, sentence: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ChainError, match=sentence):
        chain(steps)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: JointClip(0.0, {}), "clip_norm"),
        (lambda: JointClip(math.inf, {}), "clip_norm"),
        (lambda: JointClip(1.0, {"a": -1.0}), "weight"),
        (lambda: GaussianNoise(-1.0, 1.0), "noise_multiplier"),
        (lambda: DistributedNoise(-1.0, 1.0, 3), "noise_multiplier"),
        (lambda: DistributedNoise(1.0, 1.0, 0), "one honest client"),
        (lambda: Project({"a": torch.ones(4, 2)}), "not orthonormal"),
        (lambda: Quantise(0.0, 3), "step"),
    ],
)
def test_senseless_parameters_are_refused(build, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ChainError, match=sentence):
        build()


def test_a_bound_travels() -> None:
    """15 steps of norm and 100 values: min(15 + 10, sqrt(225 + 25 + 15 + 5)) = sqrt(270)."""
    grown = chain([CLIP, Quantise(0.1, 100), GaussianNoise(2.0, 2.0)]).bound
    assert grown.l2 == pytest.approx(0.1 * math.sqrt(270))
    assert (grown.grid, grown.noise_stddev) == (0.1, 4.0)


def block(values: list[float], clients: int, rows: int) -> dict[str, Part]:
    """Uploads that hold the given numbers, some of them in a touched table's padding."""
    rng = np.random.default_rng(len(values))
    dense = torch.tensor(np.resize(values, (clients, 3)), dtype=torch.float32)
    index = np.stack([rng.permutation(rows)[:4] for _ in range(clients)])
    table = torch.tensor(np.resize(values[::-1], (clients, 4, 2)), dtype=torch.float32)
    part = Touched(torch.from_numpy(index), table, torch.ones(clients, 4), rows)
    return {"a": Dense(dense), "b": Slotted(torch.from_numpy(rng.integers(0, 2, clients)), part, 2)}


NUMBERS = st.lists(
    st.one_of(
        st.floats(width=32, allow_nan=True, allow_infinity=True),
        st.sampled_from([math.nan, math.inf, -math.inf, 1e30, -1e30, 1e-40, 0.0]),
    ),
    min_size=1, max_size=20,
)


def joint(uploads: dict[str, Part]) -> torch.Tensor:
    return torch.cat([WEIGHTS[n] * p.dense().double().flatten(1) for n, p in uploads.items()], 1)


@settings(deadline=None, max_examples=200)
@given(NUMBERS, st.integers(1, 5))
def test_no_input_breaks_the_clip(values: list[float], clients: int) -> None:
    uploads = block(values, clients, 6)
    clipped = CLIP.apply(uploads)
    vectors = joint(dict(clipped.uploads))
    assert bool(torch.isfinite(vectors).all())
    assert bool((vectors.norm(dim=1) <= CLIP.clip_norm).all())
    assert bool((vectors[clipped.zeroed] == 0).all())
    raw = joint(uploads)
    usable = torch.isfinite(raw).all(1) & (raw.norm(dim=1) < 1e15)
    assert not bool((clipped.zeroed & usable).any())
    # Leaving one client out changes the sum by no more than the clip.
    for gone in range(clients):
        assert float(vectors[gone].norm()) <= CLIP.clip_norm


def test_long_vectors_near_the_clip_stay_below_it() -> None:
    """Sums of 200,000 squares in float32, scaled to end within rounding of the clip."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(8, 200_000, generator=generator)
    rows *= (torch.linspace(1 - 1e-6, 1 + 1e-6, 8)[:, None] / rows.double().norm(dim=1)[:, None]
             ).float()
    out = JointClip(1.0, {"a": 1.0}).apply({"a": Dense(rows)})
    assert bool((out.uploads["a"].dense().double().norm(dim=1) <= 1.0).all())
    assert not bool(out.shortened.any())


def test_projection_is_the_matrix_product_and_happens_before_the_clip() -> None:
    basis = torch.linalg.qr(torch.randn(6, 2, generator=torch.Generator().manual_seed(0))).Q
    project = Project({"b": basis})
    table = Touched(torch.tensor([[0, 3, 5]]), torch.randn(1, 3, 2), torch.ones(1, 3), 6)
    inside = project.apply({"b": table})["b"].dense()
    torch.testing.assert_close(inside[0], basis.T @ table.dense()[0])
    torch.testing.assert_close(project.expand({"b": inside[0]})["b"], basis @ inside[0])
    # A vector of length 10 orthogonal to the subspace must not use up the clip.
    away = torch.zeros(6)
    away[0] = 1.0
    away -= basis @ (basis.T @ away)
    vector = (10 * away / away.norm() + 0.5 * basis[:, 0])[None, :, None].repeat(1, 1, 2)
    whole = Touched(torch.arange(6)[None], vector, torch.ones(1, 6), 6)
    mechanism = chain([project, JointClip(1.0, {"b": 1.0}), GaussianNoise(0.0, 1.0)])
    out = mechanism.on_clients({"b": whole}, np.arange(1), SOURCE, 0).uploads["b"].dense()
    assert float(out.norm()) == pytest.approx(0.5 * math.sqrt(2), rel=1e-4)


def test_a_row_named_twice_is_refused() -> None:
    twice = Touched(torch.tensor([[1, 1]]), torch.ones(1, 2, 2), torch.ones(1, 2), 4)
    with pytest.raises(UploadError, match="row twice"):
        JointClip(1.0, {"b": 1.0}).apply({"b": twice})
    padded = Touched(torch.tensor([[1, 1]]), torch.tensor([[[1.0], [0.0]]]),
                     torch.tensor([[1.0, 0.0]]), 4)
    JointClip(1.0, {"b": 1.0}).apply({"b": padded})


def test_without_noise_and_with_a_huge_clip_nothing_changes() -> None:
    releases = (Release("a", (3,)), Release("b", (2, 6, 2)))
    uploads = block([0.1, -0.7, 1.3, 0.9], 4, 6)
    cohort = Cohort(0, np.arange(4), 4)
    sums = []
    for mechanism in (None, chain([JointClip(1e6, WEIGHTS), GaussianNoise(0.0, 1e6)])):
        stack = PrivacyStack(releases, Ledger(), mechanism=mechanism)
        gate = stack.open(cohort)
        gate.submit(cohort.ids, uploads)
        totals, entries = stack.finish(gate.close(), cohort, 4)
        assert all(e.event == "NonPrivate" for e in entries)
        sums.append(totals.sums)
    for name in WEIGHTS:
        assert torch.equal(sums[0][name], sums[1][name])
