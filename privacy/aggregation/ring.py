"""Integers to and from the ring of integers modulo 2**32, in which masked vectors are added.

Two's complement: the upper half of the ring stands for negative numbers. A sum is exact while it
lies in [-2**31, 2**31); the stack refuses a round whose sum might not (`CapacityError`).
"""

from __future__ import annotations

import numpy as np


def to_ring(vectors: np.ndarray) -> np.ndarray:
    """Return integers, int64 of any shape within [-2**31, 2**31), as elements of the ring, uint32.
    """
    return vectors.astype(np.int32).view(np.uint32)


def from_ring(total: np.ndarray) -> np.ndarray:
    """Return elements of the ring, uint32 of any shape, as the integers int64 that they stand for.
    """
    return total.view(np.int32).astype(np.int64)
