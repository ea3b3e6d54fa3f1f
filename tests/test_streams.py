from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privfedmm.base.streams import bits, draw_below, normal, philox4x32, uniform

# Known answers of philox4x32-10, from the Random123 distribution (kat_vectors).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    out = philox4x32(np.array([counter], dtype=np.uint32), key)
    assert tuple(int(x) for x in out[0]) == expected


def test_a_client_sees_the_same_numbers_alone_and_in_any_block() -> None:
    ids = np.array([3, 17, 4, 900])
    together = normal(7, "user", 2, ids, 11)
    for row, client in enumerate(ids):
        alone = normal(7, "user", 2, np.array([client]), 11)
        np.testing.assert_array_equal(together[row], alone[0])


def test_streams_differ_by_every_part_of_their_name() -> None:
    base = bits(1, "a", 0, np.array([5]), 8)
    for other in (
        bits(2, "a", 0, np.array([5]), 8),
        bits(1, "b", 0, np.array([5]), 8),
        bits(1, "a", 1, np.array([5]), 8),
        bits(1, "a", 0, np.array([6]), 8),
    ):
        assert (base != other).any()


def test_uniform_and_normal_have_their_distribution() -> None:
    """KS at level 1e-4 each: two false alarms in 10,000 changes of the seed."""
    draw = uniform(0, "ks", 0, np.arange(200), 200).ravel()
    assert stats.kstest(draw, "uniform").pvalue > 1e-4
    assert stats.kstest(normal(0, "ks2", 0, np.arange(200), 200).ravel(), "norm").pvalue > 1e-4


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.integers(0, 5), st.integers(0, 3))
def test_draw_below_is_a_permutation(bound: int, seed: int, round_: int) -> None:
    out = draw_below(seed, "p", round_, np.arange(3), np.full(3, bound), bound)
    for row in out:
        assert sorted(row.tolist()) == list(range(bound))


def test_draw_below_is_uniform() -> None:
    """First of 37, over 20,000 clients: chi-square at level 1e-4; and pairs of draws of 7."""
    first = draw_below(0, "u", 0, np.arange(20_000), np.full(20_000, 37), 1)[:, 0]
    assert stats.chisquare(np.bincount(first, minlength=37)).pvalue > 1e-4
    pair = draw_below(0, "v", 0, np.arange(20_000), np.full(20_000, 7), 2)
    code = pair[:, 0] * 7 + pair[:, 1]
    counts = np.bincount(code, minlength=49)
    off = ~np.eye(7, dtype=bool).ravel()
    assert counts[~off].sum() == 0
    assert stats.chisquare(counts[off]).pvalue > 1e-4
