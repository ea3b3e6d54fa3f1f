"""Titles, descriptions and pictures of planted items, made from their topics."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

TEXT_TOPICS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("space", ("rocket", "orbit", "planet", "comet", "astronaut", "galaxy", "crater", "moonbase")),
    ("sea", ("harbour", "sailor", "anchor", "reef", "whale", "island", "tide", "lighthouse")),
    ("court", ("lawyer", "verdict", "judge", "witness", "jury", "trial", "alibi", "appeal")),
    ("kitchen", ("chef", "bakery", "spice", "recipe", "banquet", "oven", "harvest", "feast")),
    ("heist", ("safe", "getaway", "diamond", "alarm", "vault", "forger", "disguise", "ransom")),
    ("dance", ("ballet", "rhythm", "stage", "tango", "rehearsal", "studio", "waltz", "audition")),
    ("winter", ("glacier", "sled", "blizzard", "cabin", "wolf", "frost", "mountain", "avalanche")),
    ("machine", ("robot", "engine", "circuit", "factory", "android", "gear", "signal", "inventor")),
)
_COLOURS = (
    (205, 60, 50), (50, 105, 200), (60, 160, 75), (225, 180, 45),
    (130, 65, 165), (40, 170, 175), (235, 130, 40), (120, 120, 130),
)
_SHAPES = ("disc", "square", "triangle", "bars", "ring", "cross", "dots", "diagonal")
IMAGE_TOPICS = len(_COLOURS)
_OPENINGS = ("A story of", "The tale of", "A film about", "An evening with", "The secret of")
_JOINS = ("and", "meets", "against", "beyond", "without")


def write_texts(topics: np.ndarray, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Write a title and a description for each item; topics [items] index TEXT_TOPICS."""
    titles, descriptions = [], []
    for number, topic in enumerate(topics):
        words = TEXT_TOPICS[topic][1]
        # One word in five comes from another topic, as real descriptions wander.
        other = TEXT_TOPICS[rng.integers(len(TEXT_TOPICS))][1]
        a, b, c = rng.choice(len(words), 3, replace=False)
        stray = other[rng.integers(len(other))]
        titles.append(f"The {words[a].capitalize()} {number + 1}")
        descriptions.append(
            f"{_OPENINGS[rng.integers(len(_OPENINGS))]} the {words[b]} "
            f"{_JOINS[rng.integers(len(_JOINS))]} the {words[c]}, near the {stray}, "
            f"told around one {words[a]}."
        )
    return titles, descriptions


def draw_images(topics: np.ndarray, rng: np.random.Generator, size: int = 32) -> list[Image.Image]:
    """Draw a picture for each item: a shape on a ground, both from its topic, with noise.

    topics [items] are less than IMAGE_TOPICS; size: the length of a side, in pixels.
    """
    images = []
    for topic in topics:
        colour = np.clip(np.array(_COLOURS[topic]) + rng.normal(0, 18, 3), 0, 255).astype(int)
        ground = np.clip(235 - 0.25 * colour + rng.normal(0, 10, 3), 0, 255).astype(int)
        image = Image.new("RGB", (size, size), tuple(ground.tolist()))
        _shape(ImageDraw.Draw(image), _SHAPES[topic], tuple(colour.tolist()), size, rng)
        noisy = np.asarray(image, dtype=np.float32) + rng.normal(0, 8, (size, size, 3))
        images.append(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)))
    return images


def _shape(
    draw: ImageDraw.ImageDraw,
    kind: str,
    colour: tuple[int, ...],
    size: int,
    rng: np.random.Generator,
) -> None:
    x, y = (int(v) for v in rng.integers(2, size // 4, 2))
    far_x, far_y = (int(v) for v in rng.integers(3 * size // 4, size - 2, 2))
    box = (x, y, far_x, far_y)
    if kind == "disc":
        draw.ellipse(box, fill=colour)
    elif kind == "square":
        draw.rectangle(box, fill=colour)
    elif kind == "triangle":
        draw.polygon([(x, far_y), (far_x, far_y), ((x + far_x) // 2, y)], fill=colour)
    elif kind == "bars":
        for left in range(x, far_x, 6):
            draw.rectangle((left, y, left + 2, far_y), fill=colour)
    elif kind == "ring":
        draw.ellipse(box, outline=colour, width=4)
    elif kind == "cross":
        draw.line((x, y, far_x, far_y), fill=colour, width=5)
        draw.line((x, far_y, far_x, y), fill=colour, width=5)
    elif kind == "dots":
        for left in range(x, far_x, 8):
            for top in range(y, far_y, 8):
                draw.ellipse((left, top, left + 4, top + 4), fill=colour)
    else:
        for left in range(-size, size, 7):
            draw.line((left, 0, left + size, size), fill=colour, width=2)
