"""MovieLens 100K by name, from the cache, with text features of titles and genres."""

from __future__ import annotations

from dataclasses import replace

from privfedmm.data.extract import TEXT_NOTE, text_features
from privfedmm.data.layouts import read_folder
from privfedmm.data.movielens import is_cached
from privfedmm.data.prepare import content_hash, prepare
from privfedmm.data.sources.source import Request, Source
from privfedmm.data.types import DataError, Dataset

_NAME = "ml-100k"
_TEXT_RANK = 64


def _load(request: Request) -> Dataset:
    if request.max_users:
        raise DataError("max_users: not for ml-100k, whose users are few; use a folder")
    folder = request.cache / _NAME
    if not is_cached(folder):
        raise DataError("ml-100k is not in the cache; run `privfedmm data get ml-100k` first")
    data = prepare(read_folder(folder), request.k_core, request.seed)
    texts = (data.items["title"] + " " + data.items["genres"]).tolist()
    features = {"text": text_features(texts, _TEXT_RANK)}
    note = f"{TEXT_NOTE.format(rank=_TEXT_RANK)}, of title and genres"
    held = {"validation": data.validation, "test": data.test}
    digest = content_hash(data.user_ids, data.item_ids, data.train, held, features)
    return replace(data, features=features, feature_notes={"text": note}, sha256=digest)


ML_100K = Source(
    _NAME, "MovieLens 100K, titles and genres; `privfedmm data get ml-100k` fetches it", _load)
