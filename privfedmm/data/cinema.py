"""A generated data set of which content tells one part and other users another.

Every film has a text topic and a picture topic, which its features show, and a mood, which nothing
shows but who watches it. Users belong to circles that share likings of all three, and each adds
likings of its own. Films are many and users few, as in a young service, and a fifth of the films
came late: rare in training, as common as any among what is held out. So content alone misses the
mood, and interactions alone miss late films and have little to tell the others by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from privfedmm.data.planted import choose, generated, refuse_selection
from privfedmm.data.planted_render import IMAGE_TOPICS, TEXT_TOPICS, draw_images, write_texts
from privfedmm.data.sources import Request, Source
from privfedmm.data.types import Dataset, Rows, Truth

CINEMA_SEED = 20261130


@dataclass(frozen=True)
class CinemaShape:
    """A shape gives the sizes of such a set, and what taste is made of.

    users, items, circles, moods: their numbers. train_items: the training items of each user,
    beside one item for validation and one for test. own: the standard deviation of a user's own
    likings, where those of a circle have 1. mood: what a liking of a mood weighs beside one of a
    topic. popularity: the standard deviation of the items'. late_share: the share of items that
    came late. lateness: by how much less, in logits, they are chosen in training.
    """

    users: int = 400
    items: int = 800
    circles: int = 12
    moods: int = 8
    train_items: int = 12
    own: float = 1.0
    popularity: float = 0.7
    mood: float = 0.5
    late_share: float = 0.2
    lateness: float = 2.5


@dataclass(frozen=True)
class _Films:
    text_topic: np.ndarray
    image_topic: np.ndarray
    mood: np.ndarray
    popularity: np.ndarray
    late: np.ndarray


def _films(seed: int, shape: CinemaShape) -> _Films:
    rng, number = np.random.default_rng([seed, 1]), np.arange(shape.items)
    late = np.zeros(shape.items, dtype=bool)
    late[rng.choice(shape.items, int(shape.late_share * shape.items), replace=False)] = True
    return _Films(
        rng.permutation(number % len(TEXT_TOPICS)), rng.permutation(number % IMAGE_TOPICS),
        rng.permutation(number % shape.moods), rng.normal(0, shape.popularity, shape.items), late)


def cinema_images(seed: int, shape: CinemaShape) -> list[Image.Image]:
    """Draw the pictures of the items, in item order."""
    return draw_images(_films(seed, shape).image_topic, np.random.default_rng([seed, 3]))


def cinema(seed: int, shape: CinemaShape) -> Dataset:
    """Generate such a data set; the same seed and shape give the same data."""
    films, rng = _films(seed, shape), np.random.default_rng([seed, 4])
    circle = rng.permutation(np.arange(shape.users) % shape.circles)

    def liked(kinds: int, kind: np.ndarray) -> np.ndarray:
        """Logits [users, items] of one side of taste, where items are of `kinds` kinds."""
        shared = rng.normal(size=(shape.circles, kinds))[circle]
        return (shared + shape.own * rng.normal(size=(shape.users, kinds)))[:, kind]

    logits = (liked(len(TEXT_TOPICS), films.text_topic) + liked(IMAGE_TOPICS, films.image_topic)
              + shape.mood * liked(shape.moods, films.mood) + films.popularity)
    chosen = choose(logits - shape.lateness * films.late, shape.train_items, rng)
    logits[np.arange(shape.users)[:, None], chosen] = -np.inf
    held = choose(logits, 2, rng)
    train = Rows.from_pairs(
        np.repeat(np.arange(shape.users), shape.train_items), chosen.ravel(), shape.users)
    validation, test = held.T.astype(np.int64)
    return generated(
        "cinema", "film", seed, train, validation, test,
        write_texts(films.text_topic, np.random.default_rng([seed, 2])),
        cinema_images(seed, shape),
        Truth(circle, films.text_topic, films.image_topic, films.late))


def _load(request: Request) -> Dataset:
    refuse_selection(request, "cinema", "has one size; use planted:N for others")
    return cinema(CINEMA_SEED, CinemaShape())


def _pictures(size: str) -> list[Image.Image]:
    return cinema_images(CINEMA_SEED, CinemaShape())


CINEMA = Source(
    "cinema", "generated: 400 users, 800 films, 12 circles; taste is told by text, pictures and "
    "other users together", _load, pictures=_pictures, invented=True,
    reference="this project, docs/results/cinema.md")
