from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy import (
    Charge,
    Cohort,
    Collected,
    Dense,
    Everyone,
    GaussianNoise,
    JointClip,
    Ledger,
    LedgerError,
    LowRank,
    Mechanism,
    PlainAggregator,
    PrivacyStack,
    Project,
    Quantise,
    Release,
    RoundAborted,
    Slotted,
    SystemSource,
    Task,
    Touched,
    UploadError,
    Uploads,
    chain,
)
from privacy.aggregation.intercept import TappedAggregator
from privacy.uploads import Part


def touched(clients: int, rows: int, width: int, seed: int) -> Touched:
    rng = np.random.default_rng(seed)
    length = min(4, rows)
    index = np.stack([rng.choice(rows, length, replace=False) for _ in range(clients)])
    mask = (rng.random((clients, length)) < 0.8).astype(np.float32)
    values = rng.integers(-9, 10, (clients, length, width)).astype(np.float32) * mask[:, :, None]
    return Touched(torch.from_numpy(index), torch.from_numpy(values), torch.from_numpy(mask), rows)


def parts(clients: int, seed: int) -> list[Part]:
    rng = np.random.default_rng(seed)
    dense = Dense(torch.from_numpy(rng.integers(-9, 10, (clients, 3)).astype(np.float32)))
    slot = torch.from_numpy(rng.integers(0, 4, clients))
    table = touched(clients, 6, 2, seed)
    return [dense, table, Slotted(slot, dense, 4), Slotted(slot, table, 4)]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 7), st.integers(0, 1000))
def test_compact_parts_are_the_vectors_they_stand_for(clients: int, seed: int) -> None:
    """Integers in float32: sums are exact, so equality is exact."""
    for part in parts(clients, seed):
        dense = part.dense()
        assert tuple(dense.shape) == (clients, *part.shape())
        total = torch.zeros(part.shape())
        part.add_to(total)
        assert torch.equal(total, dense.sum(0))
        assert part.finite()


def test_one_hot_placement_keeps_the_norm() -> None:
    for plain, slotted in zip(parts(5, 1)[:2], parts(5, 1)[2:], strict=True):
        torch.testing.assert_close(
            plain.dense().flatten(1).norm(dim=1), slotted.dense().flatten(1).norm(dim=1)
        )


def test_collected_slot_sums_equal_sums_of_members() -> None:
    kept, table = Collected(), touched(6, 5, 2, 3)
    ids = np.array([4, 1, 0, 5, 2, 3])
    kept.add(ids, table)
    slots = np.array([0, 1, 1, 0, 2, 2])
    dense = kept.dense(6)
    for slot in range(3):
        expected = dense[torch.from_numpy(slots == slot)].sum(0)
        torch.testing.assert_close(kept.slot_sums(slots, 3)[slot], expected)


RELEASES = (Release("a", (3,)), Release("b", (6, 2)))


def stack() -> PrivacyStack:
    return PrivacyStack(RELEASES, Ledger())


def good(clients: int) -> dict[str, Part]:
    return {"a": Dense(torch.ones(clients, 3)), "b": touched(clients, 6, 2, 0)}


def test_a_round_through_the_gate() -> None:
    ours = stack()
    cohort = ours.draw(5, 0)
    gate = ours.open(cohort)
    gate.submit(np.array([1, 3]), good(2))
    gate.submit(np.array([0, 2, 4]), good(3))
    totals, entries = ours.finish(gate.close(), cohort, 5)
    assert torch.equal(totals.sums["a"], torch.full((3,), 5.0))
    assert totals.cohort == 5
    assert [e.name for e in entries] == ["a", "b"]
    assert all(e.event == "NonPrivate" for e in entries)
    assert ours.ledger.spent(1e-5) == float("inf")


@pytest.mark.parametrize(
    ("uploads", "sentence"),
    [
        ({"a": Dense(torch.ones(2, 3))}, "differ in b"),
        ({**good(2), "c": Dense(torch.ones(2, 1))}, "differ in c"),
        ({**good(2), "a": Dense(torch.ones(2, 4))}, "declared as"),
        ({**good(2), "a": Dense(torch.ones(3, 3))}, "carries 3 clients"),
        ({**good(2), "a": Dense(torch.full((2, 3), float("nan")))}, "NaN or infinity"),
        ({**good(2), "a": Dense(torch.full((2, 3), float("inf")))}, "NaN or infinity"),
    ],
)
def test_the_gate_refuses(uploads: dict[str, Part], sentence: str) -> None:
    gate = stack().open(Cohort(0, np.arange(2), 2))
    with pytest.raises(UploadError, match=sentence):
        gate.submit(np.arange(2), uploads)


def low_rank(clients: int, rank: int, seed: int) -> LowRank:
    table, g = touched(clients, 6, 2, seed), torch.Generator().manual_seed(seed)
    left = torch.randint(-3, 4, (clients, rank, 4), generator=g) * table.mask[:, None]
    right = torch.randint(-3, 4, (clients, rank, 2), generator=g).float()
    values = torch.bmm(left.transpose(1, 2), right)
    return LowRank(table.index, values, table.mask, 6, left, right)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 7), st.integers(1, 3), st.integers(0, 1000))
def test_projected_factors_are_the_projected_rows(clients: int, rank: int, seed: int) -> None:
    """Integers in float32: exact."""
    part = low_rank(clients, rank, seed)
    basis = torch.randint(-3, 4, (6, 3), generator=torch.Generator().manual_seed(seed)).float()
    assert torch.equal(part.projected(basis).values, part.table().projected(basis).values)
    assert torch.equal(part.dense(), part.table().dense())


CLIP, QUIET = JointClip(1.0, {"b": 1.0}), GaussianNoise(0.0, 1000.0)


@pytest.mark.parametrize("mechanism", [
    None, chain([CLIP, QUIET]), chain([CLIP, Quantise(64, 12), QUIET]),
    chain([Project({"b": torch.eye(6)[:, :3]}), CLIP, QUIET]),
], ids=["plain", "clipped", "rounded", "projected"])
def test_factors_never_pass_the_gate(mechanism: Mechanism | None) -> None:
    """They hold the user's vector, which no release declares."""
    seen: list[Part] = []

    def tap(ids: np.ndarray, uploads: Uploads) -> Uploads:
        seen.extend(uploads.values())
        return uploads

    stack = PrivacyStack((Release("b", (6, 2)),), Ledger(), mechanism=mechanism,
                         aggregator=TappedAggregator(PlainAggregator(), lambda task: tap))
    gate = stack.open(stack.draw(3, 0))
    gate.submit(np.arange(3), {"b": low_rank(3, 2, 0)})
    assert [type(part) for part in seen] == (
        [Dense] if mechanism and mechanism.project else [Touched])


class TestPlainAggregator:
    """On touched rows and with other numbers than 0, 1, ...; the contract has the rest."""

    aggregator = PlainAggregator()

    def test_sums_whatever_the_blocks(self) -> None:
        cohort = Cohort(0, np.arange(6), 6)
        one = self.aggregator.open(Task(cohort, RELEASES, len(cohort.ids)))
        one.submit(cohort.ids, good(6))
        whole = good(6)
        two = self.aggregator.open(Task(cohort, RELEASES, len(cohort.ids)))
        for ids in (np.array([3, 4, 5]), np.array([0, 1, 2])):
            table = whole["b"]
            assert isinstance(table, Touched)
            part = Touched(table.index[ids], table.values[ids], table.mask[ids], 6)
            two.submit(ids, {"a": Dense(torch.ones(3, 3)), "b": part})
        for name, total in one.close().sums.items():
            torch.testing.assert_close(two.close().sums[name], total)

    def test_refuses_strangers_twins_and_absentees(self) -> None:
        cohort = Cohort(0, np.array([2, 5]), 2)
        session = self.aggregator.open(Task(cohort, RELEASES, len(cohort.ids)))
        with pytest.raises(UploadError, match="outside the cohort"):
            session.submit(np.array([3]), good(1))
        session.submit(np.array([2]), good(1))
        with pytest.raises(UploadError, match="twice"):
            session.submit(np.array([2]), good(1))
        with pytest.raises(RoundAborted, match="1 of 2 clients"):
            session.close()


def charge(ledger: Ledger, round_: int, name: str = "a") -> None:
    ledger.charge(Charge(round=round_, name=name, event="NonPrivate", noise_multiplier=None,
                  clip_norm=None, sampling_rate=1.0, population=3, cohort=3))


def test_ledger_keeps_its_order_and_survives_json() -> None:
    ledger = Ledger()
    assert ledger.spent(1e-5) == 0.0
    for round_ in range(3):
        charge(ledger, round_)
    again = Ledger.from_json(ledger.to_json())
    assert again.entries == ledger.entries


def test_ledger_never_charges_twice_nor_the_unknown() -> None:
    ledger = Ledger()
    charge(ledger, 0)
    with pytest.raises(LedgerError, match="already"):
        charge(ledger, 0)
    with pytest.raises(LedgerError, match="no price"):
        ledger.charge(Charge(round=1, name="a", event="Laplace", noise_multiplier=1.0,
                             clip_norm=1.0, sampling_rate=1.0, population=3, cohort=3))


@pytest.mark.parametrize("fault", ["edit", "drop", "swap"])
def test_an_altered_ledger_is_noticed(fault: str) -> None:
    ledger = Ledger()
    for round_ in range(3):
        charge(ledger, round_)
    rows = ledger.to_json()
    if fault == "edit":
        rows[1]["cohort"] = 99
    elif fault == "drop":
        del rows[1]
    else:
        rows[0], rows[1] = rows[1], rows[0]
    with pytest.raises(LedgerError, match="does not follow"):
        Ledger.from_json(rows)


def test_everyone_takes_part() -> None:
    assert Everyone().draw(4, 9, SystemSource()).ids.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="at least one"):
        Everyone().draw(0, 0, SystemSource())


def test_release_names_are_unique() -> None:
    with pytest.raises(ValueError, match="unique"):
        PrivacyStack((Release("a", (1,)), Release("a", (2,))), Ledger())
