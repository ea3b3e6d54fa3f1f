"""The generated data set by name, in its own size and in any other."""

from __future__ import annotations

from privfedmm.data.planted import DATA_SEED, PlantedShape, planted
from privfedmm.data.sources.source import Request, Source
from privfedmm.data.types import DataError, Dataset


def _load(request: Request) -> Dataset:
    if request.max_users:
        raise DataError("max_users: the planted set is drawn in any size; use planted:N")
    try:
        shape = PlantedShape(users=int(request.size)) if request.size else PlantedShape()
    except ValueError as error:
        raise DataError(str(error)) from error
    return planted(DATA_SEED, shape)


PLANTED = Source(
    "planted", "generated: 300 users, 240 items, 4 groups, rendered text and pictures", _load)
PLANTED_SIZED = Source(
    "planted:N", "the same with N users, for measurements of size", _load)
