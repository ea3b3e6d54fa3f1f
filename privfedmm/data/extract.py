"""Plain text features for data that comes without an encoder's features."""

from __future__ import annotations

import numpy as np

from privfedmm.base.features import principal

TEXT_NOTE = "tf-idf of the words, {rank} principal components"


def text_features(texts: list[str], rank: int) -> np.ndarray:
    """Reduce the tf-idf bag of words by PCA: [texts, F] float32 with F at most `rank`."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = TfidfVectorizer(token_pattern=r"(?u)\b\w\w+\b").fit_transform(texts)
    return principal(counts.toarray(), min(rank, len(texts) - 1))
