"""Training interactions as a sparse matrix."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from privfedmm.data.types import Rows


def matrix(train: Rows, num_items: int) -> sparse.csr_matrix:
    """Return the training interactions as ones in a sparse matrix [users, items]."""
    ones = np.ones(len(train.indices), dtype=np.float32)
    return sparse.csr_matrix((ones, train.indices, train.indptr), shape=(train.users, num_items))
