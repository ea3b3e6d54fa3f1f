"""Data sets: layouts of folders, known names, filter and split, and the planted set."""

from __future__ import annotations

from privfedmm.data.cinema import CINEMA_SEED, CinemaShape, cinema, cinema_images
from privfedmm.data.cold import hold_out_items
from privfedmm.data.encoded import Encoding, encode_raw, pinned, silent
from privfedmm.data.layouts import LAYOUTS, Layout, read_folder
from privfedmm.data.loading import feature_cache, load
from privfedmm.data.missing import drop_features
from privfedmm.data.movielens import LICENCE_TERMS, default_cache, fetch_ml100k
from privfedmm.data.over_catalogue import SHORTEST
from privfedmm.data.own_rows import read_own_rows
from privfedmm.data.parts import Catalogue, Shard, read_catalogue, read_shard, shard_of
from privfedmm.data.planted import DATA_SEED, PlantedShape, planted, planted_images
from privfedmm.data.raw import Raw
from privfedmm.data.resplit import split_by
from privfedmm.data.sources import (
    SOURCES,
    Fetch,
    Request,
    Source,
    available,
    find_source,
    is_named,
)
from privfedmm.data.types import DataError, Dataset, Held, Protocol, Rows, SplitBy, Truth, Unit

__all__ = [
    "CINEMA_SEED",
    "DATA_SEED",
    "LAYOUTS",
    "LICENCE_TERMS",
    "SHORTEST",
    "SOURCES",
    "Catalogue",
    "CinemaShape",
    "DataError",
    "Dataset",
    "Encoding",
    "Fetch",
    "Held",
    "Layout",
    "PlantedShape",
    "Protocol",
    "Raw",
    "Request",
    "Rows",
    "Shard",
    "Source",
    "SplitBy",
    "Truth",
    "Unit",
    "available",
    "cinema",
    "cinema_images",
    "default_cache",
    "drop_features",
    "encode_raw",
    "feature_cache",
    "fetch_ml100k",
    "find_source",
    "hold_out_items",
    "is_named",
    "load",
    "pinned",
    "planted",
    "planted_images",
    "read_catalogue",
    "read_folder",
    "read_own_rows",
    "read_shard",
    "shard_of",
    "silent",
    "split_by",
]
