"""A client that skips its clip: under central noise the server bounds what it reads."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from privacy import Dense, Everyone, Mechanism, Release, Slotted, SystemSource, Touched
from privacy.aggregation.deployed import PlainSide
from privacy.aggregator import Task
from privacy.places import Place
from privacy.plain import RunningSums
from privacy.quantise import Quantise
from privacy.transforms import GaussianNoise, JointClip, Step, chain
from privacy.uploads import Uploads

CLIP, VALUES, CLIENTS = 2.0, 32, 20
RELEASE = Release("update", (VALUES,))


def mechanism(*more: Step) -> Mechanism:
    steps = [JointClip(CLIP, {"update": 1.5}), *more]
    bound = chain([*steps, GaussianNoise(0.0, CLIP * 9, Place.CENTRAL)]).bound.l2
    return chain([*steps, GaussianNoise(1.0, bound, Place.CENTRAL)])


def task(made: Mechanism | None, clients: int = CLIENTS) -> Task:
    cohort = Everyone().draw(clients, 0, SystemSource())
    whole = bool(made and made.quantise)
    return Task(cohort, (RELEASE,), 2, integer=whole,
                limit=made.largest(clients) if made and whole else 0.0,
                server_clip=made.clip_again if made else None)


def total(side: Task, blocks: list[tuple[np.ndarray, Uploads]]) -> torch.Tensor:
    plain = PlainSide(side)
    for ids, uploads in blocks:
        plain.uploads(ids, uploads)
    assert not plain.refusals
    return plain.opened().sums["update"]


def clipped(made: Mechanism, raw: torch.Tensor, ids: np.ndarray) -> Uploads:
    return made.on_clients({"update": Dense(raw)}, ids, SystemSource(), 0).uploads


IDS = np.arange(CLIENTS)
RAW = torch.randn(CLIENTS, VALUES, generator=torch.Generator().manual_seed(1)) * torch.logspace(
    -3, 3, CLIENTS)[:, None]
LIAR = np.array([CLIENTS - 1])


@pytest.mark.parametrize("more", [(), (Quantise(0.01, VALUES),)], ids=["floats", "integers"])
def test_what_honest_clients_sent_is_added_to_the_last_bit(more: tuple[Step, ...]) -> None:
    made = mechanism(*more)
    uploads = clipped(made, RAW, IDS)
    assert made.clip_again(uploads)["update"].held() is uploads["update"].held()
    alone = total(task(made), [(IDS[:7], {"update": uploads["update"].rows(torch.arange(7))}), (
        IDS[7:], {"update": uploads["update"].rows(torch.arange(7, CLIENTS))})])
    kind = torch.int64 if more else torch.float64
    assert torch.equal(alone, uploads["update"].held().to(kind).sum(0)) or not more
    assert alone.dtype == kind


@pytest.mark.parametrize("size", [1e30, 3e38, 1.1 * CLIP / 1.5])
def test_a_norm_above_the_clip_moves_the_sum_by_the_clip_alone(size: float) -> None:
    made = mechanism()
    uploads = {"update": Dense(clipped(made, RAW, IDS)["update"].held().clone())}
    uploads["update"].values[-1] = 0
    uploads["update"].values[-1, 0] = size
    before = {"update": uploads["update"].rows(torch.arange(CLIENTS - 1))}
    honest = total(task(made), [(IDS[:-1], before)])
    for side, most in ((task(made), CLIP), (task(None), math.inf)):
        moved = total(side, [(IDS, uploads)]).double() - honest
        # Without the clip of the server it is in the sum as it came.
        assert float(1.5 * moved.norm()) <= most
        assert most < math.inf or float(moved.norm()) > 0.7 * size


def test_integers_beyond_their_bound_count_as_none() -> None:
    made = mechanism(Quantise(0.01, VALUES))
    uploads = clipped(made, RAW, IDS)
    held = uploads["update"].held().clone()
    held[-1] = int(made.limit) // 2
    alone = total(task(made), [(IDS, {"update": Dense(held)})])
    assert torch.equal(alone, held[:-1].sum(0))
    plain = PlainSide(task(made))
    held[-1] = 2**30
    plain.uploads(IDS, {"update": Dense(held)})
    assert "beyond" in plain.refusals[0]


TABLE = Release("table", (6, 2))


def rows(index: list[int], mask: list[float], value: float = 1.0) -> Touched:
    return Touched(torch.tensor([index]), torch.full((1, len(index), 2), value),
                   torch.tensor([mask]), 6)


@pytest.mark.parametrize("part", [
    rows([0, 0], [1, 1]), rows([0, 0], [1, 0]), rows([0, 6], [1, 1]), rows([-1, 2], [1, 1]),
    rows([0, 1], [2, 1]), rows([0, 1], [1, 1], math.nan),
    Touched(torch.tensor([[0]]), torch.ones(1, 1, 2), torch.ones(2, 3), 6),
    Touched(torch.tensor([[0.0]]), torch.ones(1, 1, 2), torch.ones(1, 1), 6),
    Touched(torch.tensor([[0]]), torch.ones(1, 2), torch.ones(1, 1), 6),
    Dense(torch.tensor(1.0)), Dense(torch.ones(1, 6, 2, dtype=torch.bool)),
    Dense(torch.ones(1, 6, 2, dtype=torch.float64)), Dense(torch.ones(2, 6, 2)),
    Slotted(torch.tensor([3]), Dense(torch.ones(1, 2)), 6),
    Slotted(torch.tensor([6]), Dense(torch.ones(1, 2)), 6),
], ids=str)
def test_no_form_hides_a_norm(part: object) -> None:
    """A row named twice, values on padding or rows of another slot would make a norm a lie."""
    side = replace(task(None), releases=(TABLE,))
    plain = PlainSide(side)
    plain.uploads(LIAR, {"table": part})  # type: ignore[dict-item]
    assert (not plain.refusals) == (isinstance(part, Slotted) and int(part.slot[0]) == 3)


def test_no_sum_of_100_000_clients_exceeds_its_bound() -> None:
    """In float32, whose steps are 1/128 at that size, one client moves the sum by more."""
    clients, norm, step = 100_000, 0.993, 2.0**-7
    made = chain([JointClip(norm, {"update": 1.0}), GaussianNoise(1.0, norm, Place.CENTRAL)])
    ids, raw = np.arange(clients), torch.full((clients, 1), 3.7)
    raw[-2] = 0.45 * step
    one = made.on_clients({"update": Dense(raw)}, ids, SystemSource(), 0).uploads["update"]
    moved = {}
    for name, side in (("float64", task(made, clients)), ("float32", task(None, clients))):
        sums = []
        for last in (clients, clients - 1):
            session = RunningSums(replace(side, releases=(Release("update", (1,)),)))
            for block in (*np.array_split(ids[:-2], 100), ids[-2:last]):
                session.submit(block, {"update": one.rows(torch.from_numpy(block))})
            sums.append(session.close().sums["update"].double())
        moved[name] = float(sums[0] - sums[1]) / norm
    assert moved["float64"] <= 1.0
    assert moved["float32"] == pytest.approx(128 * step / norm)  # 1.007
