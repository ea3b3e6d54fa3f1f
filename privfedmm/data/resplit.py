"""The same rows with other held-out items, as a config asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from privfedmm.data.types import DataError, Dataset, SplitBy, Unit


def split_by(data: Dataset, by: SplitBy) -> Dataset:
    """Return the data with what is held out as `by` says.

    "auto" leaves it as it was loaded: as the data says, with one target a user, or else
    leave-one-out. "given": as the data says, and every held-out item is a target. "leave-one-out":
    whatever the data says. Raises DataError where the data does not say it, or where its rows are
    gone.
    """
    as_it_is = by == "auto" or (data.every_target if by == "given" else not data.protocol.given)
    if as_it_is:
        return data
    if data.resplit is None:
        if not data.protocol.given:
            raise DataError(f"split: {data.name} names no held-out items, or was loaded without "
                            "them; give it a column split (train, validation, test), or set split "
                            "to leave-one-out")
        raise DataError(f"split: {data.name} was loaded with another split, and its rows are gone; "
                        f"load it with split = {by}")
    over = data.over_catalogue and partial(_over_catalogue, data.over_catalogue, by)
    return replace(data.resplit(by), over_catalogue=over, resplit=None)


def _over_catalogue(again: Callable[..., Dataset], by: SplitBy, unit: Unit) -> Dataset:
    return split_by(again(unit=unit), by)
