"""A data set by name, folder or file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from privfedmm.data.encoded import Encoding
from privfedmm.data.finish import finish
from privfedmm.data.layouts import read_data
from privfedmm.data.movielens import default_cache
from privfedmm.data.over_catalogue import with_lists
from privfedmm.data.raw import AS_IT_IS, Reading
from privfedmm.data.sources import Request, find_source
from privfedmm.data.types import Dataset, Unit
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
    unit: Unit | None = None,
    reading: Reading = AS_IT_IS,
) -> Dataset:
    """Load a data set by name, folder or file; seed serves only splits that the data leaves open.

    A folder with texts or pictures but no feature file is encoded first, by default settings where
    `encoding` says nothing else.

    max_users: keep a random part of the users of a folder, drawn before the k-core filter; 0: all.
    unit: what a budget protects; items are then those of the public catalogue, and the k-core is of
    the evaluation alone. None without a budget. reading: what columns are called and which rows
    count. Raises DataError with a sentence that says what is wrong and what to do.
    """
    how = encoding or Encoding(EncoderSettings(), feature_cache(cache))
    named = find_source(source)
    if named is not None:
        known, size = named
        ask = Request(size, k_core, seed, max_users, cache or default_cache(), how, unit, reading)
        data = known.load(ask)
    else:
        folder = Path(source).absolute()
        raw = read_data(Path(source), reading)
        if unit is not None and folder.is_dir():
            raw = with_lists(raw, folder)
        data = finish(raw, how, k_core, seed, max_users, unit)
        source = str(folder)  # the same one from any place
    again = partial(load, source, k_core=k_core, seed=seed, cache=cache, max_users=max_users,
                    encoding=encoding, reading=reading)
    return data if data.public_items else replace(data, over_catalogue=again)
