"""Plain features from raw text and pixels, for data that comes without an encoder's features."""

from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer

from privfedmm.features import principal

TEXT_NOTE = "tf-idf of the words, {rank} principal components"
IMAGE_NOTE = "colour histogram (4 x 4 x 4) and edge directions (2 x 2 cells, 8 bins)"


def text_features(texts: list[str], rank: int) -> np.ndarray:
    """tf-idf bag of words, reduced by PCA: [texts, <= rank] float32."""
    counts = TfidfVectorizer(token_pattern=r"(?u)\b\w\w+\b").fit_transform(texts)
    return principal(counts.toarray(), min(rank, len(texts) - 1))


def image_features(images: list[Image.Image]) -> np.ndarray:
    """Colour histogram and edge directions of the pixels: [images, 96] float32."""
    pixels = np.stack([np.asarray(image.convert("RGB"), dtype=np.float32) for image in images])
    return np.concatenate([_colours(pixels), _edges(pixels)], axis=1).astype(np.float32)


def _colours(pixels: np.ndarray) -> np.ndarray:
    level = np.minimum((pixels / 64).astype(int), 3)
    code = (level[..., 0] * 16 + level[..., 1] * 4 + level[..., 2]).reshape(len(pixels), -1)
    flat = code + 64 * np.arange(len(pixels))[:, None]
    counts = np.bincount(flat.ravel(), minlength=64 * len(pixels)).reshape(len(pixels), 64)
    return np.sqrt(counts / code.shape[1])


def _edges(pixels: np.ndarray) -> np.ndarray:
    grey = pixels.mean(-1)
    dy, dx = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(dy, dx)
    bin_ = ((np.arctan2(dy, dx) + np.pi) / (2 * np.pi) * 8).astype(int) % 8
    half_y, half_x = grey.shape[1] // 2, grey.shape[2] // 2
    out = []
    for rows in (slice(0, half_y), slice(half_y, None)):
        for columns in (slice(0, half_x), slice(half_x, None)):
            cell, weight = bin_[:, rows, columns], strength[:, rows, columns]
            out += [(weight * (cell == b)).sum((1, 2)) for b in range(8)]
    edges = np.stack(out, axis=1)
    return edges / np.maximum(np.linalg.norm(edges, axis=1, keepdims=True), 1e-9)
