"""Data sets: loaders, filter and split, the planted set, and MovieLens 100K."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from privfedmm.data.cold import hold_out_items
from privfedmm.data.encoded import Encoding, encode_raw, pinned, silent
from privfedmm.data.extract import TEXT_NOTE, text_features
from privfedmm.data.layouts import read_folder
from privfedmm.data.missing import drop_features
from privfedmm.data.movielens import LICENCE_TERMS, default_cache, fetch_ml100k, is_cached
from privfedmm.data.parts import Catalogue, Part, part_of, read_catalogue, read_part
from privfedmm.data.planted import DATA_SEED, PlantedShape, planted, planted_images
from privfedmm.data.prepare import content_hash, prepare, some_users
from privfedmm.data.types import DataError, Dataset, Protocol, Rows, Truth
from privfedmm.encoders import EncoderSettings

__all__ = [
    "DATA_SEED",
    "LICENCE_TERMS",
    "Catalogue",
    "DataError",
    "Dataset",
    "Encoding",
    "Part",
    "PlantedShape",
    "Protocol",
    "Rows",
    "Truth",
    "available",
    "default_cache",
    "drop_features",
    "encode_raw",
    "feature_cache",
    "fetch_ml100k",
    "hold_out_items",
    "is_named",
    "load",
    "part_of",
    "pinned",
    "planted",
    "planted_images",
    "read_catalogue",
    "read_part",
    "silent",
]

_TEXT_RANK = 64


def available() -> dict[str, str]:
    """Known names and what they are."""
    return {
        "planted": "generated: 300 users, 240 items, 4 groups, rendered text and pictures",
        "planted:N": "the same with N users, for measurements of size",
        "ml-100k": "MovieLens 100K, titles and genres; `privfedmm data get ml-100k` fetches it",
    }


def is_named(source: str) -> bool:
    """Whether a source is a known name, whose data everyone can have, rather than a folder."""
    name, _, size = source.partition(":")
    return source == "ml-100k" or (name == "planted" and (not size or size.isdecimal()))


def feature_cache(cache: Path | None = None) -> Path:
    """Where encoded features are kept."""
    return (cache or default_cache()) / "features"


def load(
    source: str,
    *,
    k_core: int,
    seed: int,
    cache: Path | None = None,
    max_users: int = 0,
    encoding: Encoding | None = None,
) -> Dataset:
    """A data set by name or folder; seed serves only splits that the data leaves open.

    A folder with texts or pictures but no feature file is encoded first, by default settings where
    `encoding` says nothing else.

    max_users: keep a random part of the users of a folder, drawn before the k-core filter; 0: all.
    Raises DataError with a sentence that says what is wrong and what to do.
    """
    name, _, size = source.partition(":")
    if name == "planted" and (not size or size.isdecimal()):
        if max_users:
            raise DataError("max_users: the planted set is drawn in any size; use planted:N")
        try:
            shape = PlantedShape(users=int(size)) if size else PlantedShape()
        except ValueError as error:
            raise DataError(str(error)) from error
        return planted(DATA_SEED, shape)
    if source == "ml-100k":
        if max_users:
            raise DataError("max_users: not for ml-100k, whose users are few; use a folder")
        return _ml100k((cache or default_cache()) / "ml-100k", k_core, seed)
    how = encoding or Encoding(EncoderSettings(), feature_cache(cache))
    raw = encode_raw(read_folder(Path(source)), how)
    return prepare(some_users(raw, max_users, seed) if max_users else raw, k_core, seed)


def _ml100k(folder: Path, k_core: int, seed: int) -> Dataset:
    if not is_cached(folder):
        raise DataError("ml-100k is not in the cache; run `privfedmm data get ml-100k` first")
    data = prepare(read_folder(folder), k_core, seed)
    texts = (data.items["title"] + " " + data.items["genres"]).tolist()
    features = {"text": text_features(texts, _TEXT_RANK)}
    note = f"{TEXT_NOTE.format(rank=_TEXT_RANK)}, of title and genres"
    held = {"validation": data.validation, "test": data.test}
    digest = content_hash(data.user_ids, data.item_ids, data.train, held, features)
    return replace(data, features=features, feature_notes={"text": note}, sha256=digest)
