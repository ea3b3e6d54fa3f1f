"""Encoders without a pretrained model: hashed words, and colours with edge directions.

They know nothing of meaning. They serve where the extra `encoders` is not installed, and say what
they are in the record.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from privfedmm.encoders.protocol import Encode, Encoder

IMAGE_NOTE = "colour histogram (4 x 4 x 4) and edge directions (2 x 2 cells, 8 bins)"
HASHED, PROJECTED = 4096, 256
_SIDE = 64


def hashing_text() -> Encoder:
    """Return the encoder that hashes words into 4,096 signed counts, then projects them to 256
    values at random, but fixed."""
    note = (f"no pretrained model: words hashed to {HASHED} signed counts, fixed random "
            f"projection to {PROJECTED}")
    return Encoder(f"hashing-1/{HASHED}/{PROJECTED}", note, _load_hashing)


def _load_hashing() -> Encode:
    from sklearn.feature_extraction.text import HashingVectorizer

    counts = HashingVectorizer(n_features=HASHED, stop_words="english")
    # The seed is part of the encoder, as weights are of a model.
    rng = np.random.default_rng(20250919)
    projection = (rng.normal(size=(HASHED, PROJECTED)) / np.sqrt(PROJECTED)).astype(np.float32)

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.asarray(counts.transform(texts) @ projection, dtype=np.float32)

    return encode


def histogram_image() -> Encoder:
    """Return the encoder of colours and edge directions of the picture at 64 x 64."""
    note = f"no pretrained model: {IMAGE_NOTE} at {_SIDE} x {_SIDE}"
    return Encoder(f"histogram-2/{_SIDE}", note, _load_histogram)


def _load_histogram() -> Encode:
    def encode(images: Sequence[Image.Image]) -> np.ndarray:
        size = (_SIDE, _SIDE)
        return image_features([i.resize(size, Image.Resampling.BILINEAR) for i in images])

    return encode


def image_features(images: list[Image.Image]) -> np.ndarray:
    """Return colour histogram and edge directions of pictures of one size: [images, 96] float32."""
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
