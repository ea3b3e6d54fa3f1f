"""A data set by name or folder."""

from __future__ import annotations

from pathlib import Path

from privfedmm.data.encoded import Encoding, encode_raw
from privfedmm.data.layouts import read_folder
from privfedmm.data.movielens import default_cache
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
) -> Dataset:
    """Load a data set by name or folder; seed serves only splits that the data leaves open.

    A folder with texts or pictures but no feature file is encoded first, by default settings where
    `encoding` says nothing else.

    max_users: keep a random part of the users of a folder, drawn before the k-core filter; 0: all.
    Raises DataError with a sentence that says what is wrong and what to do.
    """
    how = encoding or Encoding(EncoderSettings(), feature_cache(cache))
    named = find_source(source)
    if named is not None:
        known, size = named
        return known.load(Request(size, k_core, seed, max_users, cache or default_cache(), how))
    return finish(read_folder(Path(source)), how, k_core, seed, max_users)


def finish(raw: Raw, how: Encoding, k_core: int, seed: int, max_users: int = 0) -> Dataset:
    """Make a data set of what a loader read: encode it where it has no features, filter, split.

    The arguments are those of `load`. Raises DataError.
    """
    raw = encode_raw(raw, how)
    return prepare(some_users(raw, max_users, seed) if max_users else raw, k_core, seed)
