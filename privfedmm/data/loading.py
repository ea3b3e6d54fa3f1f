"""A data set by name or folder."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from privfedmm.data.encoded import Encoding, encode_raw
from privfedmm.data.layouts import read_folder
from privfedmm.data.movielens import default_cache
from privfedmm.data.over_catalogue import listed, prepare_over_catalogue, with_lists
from privfedmm.data.prepare import prepare, some_users
from privfedmm.data.raw import Raw
from privfedmm.data.sources import Request, find_source
from privfedmm.data.types import Dataset
from privfedmm.encoders import EncoderSettings


def feature_cache(cache: Path | None = None) -> Path:
    """Return the folder of encoded features; cache: the folder of all that is fetched."""
    return (cache or default_cache()) / "features"


def load(
    source: str,
    *,
    k_core: int,
    seed: int,
    cache: Path | None = None,
    max_users: int = 0,
    encoding: Encoding | None = None,
    public_items: bool = False,
) -> Dataset:
    """Load a data set by name or folder; seed serves only splits that the data leaves open.

    A folder with texts or pictures but no feature file is encoded first, by default settings where
    `encoding` says nothing else.

    max_users: keep a random part of the users of a folder, drawn before the k-core filter; 0: all.
    public_items: as a budget asks for it, items are those of the public catalogue, and the k-core
    is of the evaluation alone. Raises DataError with a sentence that says what is wrong and what to
    do.
    """
    how = encoding or Encoding(EncoderSettings(), feature_cache(cache))
    named = find_source(source)
    if named is not None:
        known, size = named
        ask = Request(
            size, k_core, seed, max_users, cache or default_cache(), how, public_items)
        data = known.load(ask)
        again = partial(known.load, replace(ask, public_items=True))
    else:
        folder = Path(source).absolute()
        raw = read_folder(Path(source))
        if public_items:
            raw = with_lists(raw, folder)
        data = finish(raw, how, k_core, seed, max_users, public_items)
        again = partial(load, str(folder), k_core=k_core, seed=seed, cache=cache,
                        max_users=max_users, encoding=encoding, public_items=True)
    return data if data.public_items else replace(data, over_catalogue=again)


def finish(
    raw: Raw, how: Encoding, k_core: int, seed: int, max_users: int = 0,
    public_items: bool = False,
) -> Dataset:
    """Make a data set of what a loader read: encode it where it has no features, filter, split.

    The arguments are those of `load`. Raises DataError.
    """
    raw = encode_raw(listed(raw) if public_items else raw, how)
    raw = some_users(raw, max_users, seed) if max_users else raw
    if public_items:
        return prepare_over_catalogue(raw, k_core, seed)
    return prepare(raw, k_core, seed)
