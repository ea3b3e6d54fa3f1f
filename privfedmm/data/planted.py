"""A generated data set whose right answer is known: who belongs together, and what the text and
pictures tell.

Users of a group like the items of certain text topics and of certain picture topics, independent
of one another; items differ in popularity and users in taste. A share of the items is fresh: rare
in training, common among the items held out, so that only content can rank them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from privfedmm.data.extract import TEXT_NOTE, text_features
from privfedmm.data.planted_render import IMAGE_TOPICS, TEXT_TOPICS, draw_images, write_texts
from privfedmm.data.prepare import TIES, content_hash
from privfedmm.data.raw import AS_IT_IS
from privfedmm.data.sources import Request, Source
from privfedmm.data.types import DataError, Dataset, Protocol, Rows, Truth
from privfedmm.encoders.plain import IMAGE_NOTE, image_features

DATA_SEED = 20250919
TEXT_RANK = 32
_BLOCK = 4096


@dataclass(frozen=True)
class PlantedShape:
    """A planted shape gives the sizes of a planted set.

    users, items, groups: their numbers. train_items: the training items of each user, beside one
    item for validation and one for test. fresh_share: the share of items that are rare in training
    and common among those held out. liking: the logits that a liked topic adds.

    Raises ValueError for sizes from which no such set can be drawn.
    """

    users: int = 300
    items: int = 240
    groups: int = 4
    train_items: int = 20
    fresh_share: float = 0.18
    liking: float = 1.6

    def __post_init__(self) -> None:
        most = len(TEXT_TOPICS) * IMAGE_TOPICS
        if not 1 <= self.groups <= most:
            raise ValueError(f"groups is {self.groups}; pairs of topics tell 1 to {most} apart")
        if self.users < 1 or self.train_items < 1:
            raise ValueError("users and train_items must be at least 1")
        if self.items < self.train_items + 2:
            raise ValueError(f"items is {self.items}; each user needs {self.train_items} to train "
                             "on and two held out")
        if not 0 <= self.fresh_share <= 1:
            raise ValueError(f"fresh_share is {self.fresh_share}; it is a share from 0 to 1")


@dataclass(frozen=True)
class _Catalogue:
    text_topic: np.ndarray
    image_topic: np.ndarray
    popularity: np.ndarray
    fresh: np.ndarray
    titles: list[str]
    descriptions: list[str]


def _catalogue(seed: int, shape: PlantedShape) -> _Catalogue:
    rng = np.random.default_rng([seed, 1])
    text_topic = rng.permutation(np.arange(shape.items) % len(TEXT_TOPICS))
    image_topic = rng.permutation(np.arange(shape.items) % IMAGE_TOPICS)
    popularity = rng.normal(0, 0.7, shape.items)
    fresh = np.zeros(shape.items, dtype=bool)
    fresh[rng.choice(shape.items, int(shape.fresh_share * shape.items), replace=False)] = True
    titles, descriptions = write_texts(text_topic, np.random.default_rng([seed, 2]))
    return _Catalogue(text_topic, image_topic, popularity, fresh, titles, descriptions)


def planted_images(seed: int, shape: PlantedShape) -> list[Image.Image]:
    """Draw the pictures of the planted items, in item order."""
    return draw_images(_catalogue(seed, shape).image_topic, np.random.default_rng([seed, 3]))


def planted(seed: int, shape: PlantedShape) -> Dataset:
    """Generate a planted data set; the same seed and shape give the same data."""
    cat = _catalogue(seed, shape)
    group = np.random.default_rng([seed, 4]).permutation(np.arange(shape.users) % shape.groups)
    pairs_u, pairs_i = [], []
    validation = np.empty(shape.users, dtype=np.int64)
    test = np.empty(shape.users, dtype=np.int64)
    for start in range(0, shape.users, _BLOCK):
        ids = np.arange(start, min(start + _BLOCK, shape.users))
        rng = np.random.default_rng([seed, 5, start])
        logits = _tastes(cat, group[ids], shape, rng)
        chosen = choose(logits - 2.5 * cat.fresh, shape.train_items, rng)
        logits[np.arange(len(ids))[:, None], chosen] = -np.inf
        # What comes last is often new: half of the held-out items are fresh ones.
        lift = np.where(rng.random(len(ids)) < 0.5, 2.5, 0.0)
        held = choose(logits + lift[:, None] * cat.fresh, 2, rng)
        validation[ids], test[ids] = held[:, 0], held[:, 1]
        pairs_u.append(np.repeat(ids, shape.train_items))
        pairs_i.append(chosen.ravel())
    train = Rows.from_pairs(np.concatenate(pairs_u), np.concatenate(pairs_i), shape.users)
    return generated(
        "planted", "i", seed, train, validation, test, (cat.titles, cat.descriptions),
        planted_images(seed, shape), Truth(group, cat.text_topic, cat.image_topic, cat.fresh))


def generated(
    name: str, prefix: str, seed: int, train: Rows, validation: np.ndarray, test: np.ndarray,
    texts: tuple[Sequence[str], Sequence[str]], pictures: list[Image.Image], truth: Truth,
) -> Dataset:
    """Make a data set of what was drawn, its content encoded as all generated sets encode it.

    prefix: of the items' names. validation, test [users]: the held-out items. texts: titles and
    descriptions, in item order, as the pictures are.
    """
    titles, descriptions = texts
    features = {
        "text": text_features(
            [f"{t} {d}" for t, d in zip(titles, descriptions, strict=True)], TEXT_RANK),
        "image": image_features(pictures),
    }
    users = np.array([f"u{i}" for i in range(train.users)])
    items = np.array([f"{prefix}{i}" for i in range(len(titles))])
    return Dataset(
        name=name,
        user_ids=users,
        item_ids=items,
        train=train,
        validation=validation,
        test=test,
        features=features,
        items=pd.DataFrame({"item_id": items, "title": titles, "description": descriptions}),
        truth=truth,
        protocol=Protocol(
            0, "leave-one-out: the last two items of each user", TIES,
            f"generated from data seed {seed}; no k-core filter",
        ),
        sha256=content_hash(users, items, train, {"validation": validation, "test": test},
                            features),
        feature_notes={"text": TEXT_NOTE.format(rank=TEXT_RANK), "image": IMAGE_NOTE},
        public_items=True,  # drawn before any user was
    )


def _tastes(
    cat: _Catalogue, group: np.ndarray, shape: PlantedShape, rng: np.random.Generator
) -> np.ndarray:
    """Logits [m, items]: liked topics, popularity, and a little of each user's own."""
    text = _liked(group, cat.text_topic, len(TEXT_TOPICS), shape.groups)
    # Past as many groups as topics, another picture topic tells groups of one text topic apart.
    shifted = group + group // len(TEXT_TOPICS)
    image = _liked(shifted, cat.image_topic, IMAGE_TOPICS, shape.groups)
    own = 0.5 * rng.normal(size=(len(group), len(TEXT_TOPICS)))[:, cat.text_topic]
    return shape.liking * (text + image) + cat.popularity + own


def _liked(group: np.ndarray, topic: np.ndarray, topics: int, groups: int) -> np.ndarray:
    return ((topic[None, :] % min(groups, topics)) == (group % topics)[:, None]).astype(float)


def choose(logits: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` distinct items a row [m, count] in proportion to exp(logits) (Gumbel top-k)."""
    keys = logits + rng.gumbel(size=logits.shape)
    return np.argsort(-keys, axis=1)[:, :count]


DEFAULT_CORE = 5  # of a config that does not say


def refuse_selection(request: Request, name: str, size: str) -> None:
    """Refuse what would select from a generated data set, which has nothing to select from.

    name: what it is called. size: how to get another one. Raises DataError naming the field.
    """
    if request.k_core not in (0, DEFAULT_CORE):
        raise DataError(f"k_core: the {name} set is not filtered, every user has as many items as "
                        f"it draws, so {request.k_core} would do nothing; leave --k-core out")
    if request.max_users:
        raise DataError(f"max_users: the {name} set {size}")
    if request.reading != AS_IT_IS:
        raise DataError(f"columns, min_rating, duplicates: not for the {name} set, whose rows are "
                        "generated without ratings; leave them out")


def _load(request: Request) -> Dataset:
    refuse_selection(request, "planted", "is drawn in any size; use planted:N")
    return planted(DATA_SEED, _shape(request.size))


def _shape(size: str) -> PlantedShape:
    try:
        return PlantedShape(users=int(size)) if size else PlantedShape()
    except ValueError as error:
        raise DataError(str(error)) from error


def _pictures(size: str) -> list[Image.Image]:
    return planted_images(DATA_SEED, _shape(size))


PLANTED = Source(
    "planted", "generated: 300 users, 240 items, 4 groups, rendered text and pictures", _load,
    reference="this project, docs/concepts.md", pictures=_pictures, invented=True)
PLANTED_SIZED = Source("planted:N", "the same with N users, for measurements of size", _load,
                       reference="this project, docs/concepts.md", pictures=_pictures,
                       invented=True)
