"""Where the public part of a run's data comes from, and where a node's rows do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.deployment.invitation import Invitation
from experiments.deployment.joining import numbers_of
from experiments.deployment.party_files import KEYHOLDER
from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig, settled
from privfedmm.data import (
    SHORTEST,
    Catalogue,
    DataError,
    Encoding,
    Shard,
    feature_cache,
    is_named,
    read_catalogue,
    read_shard,
    shard_of,
)
from privfedmm.encoders import Report
from privfedmm.runs.run import load_data

# Filters and draws over all users' rows, which no party of such a run has.
_OVER_ALL = ("k_core", "max_users", "cold_items", "drop_features")


def offered(
    config: RunConfig, users: Sequence[int] | None, nodes: int | None, report: Report
) -> tuple[RunConfig, Catalogue, list[int]]:
    """Return the config to invite with, the public part of its data, and the users of each node.

    A known name is data that everyone can have; nodes share it out evenly unless `users` says how.
    Of a folder only items and features are read, and `users` has to say how many users a node has.
    Raises UserError.
    """
    if users is not None and nodes is not None:
        raise UserError("--users: it says how many nodes there are; leave --nodes out")
    if is_named(config.dataset):
        data = load_data(config, report)
        shares = list(users) if users is not None else [
            len(part) for part in np.array_split(np.arange(data.num_users), nodes or 1)]
        if sum(shares) != data.num_users:
            raise UserError(f"--users: {config.dataset} has {data.num_users} users, and these are "
                            f"{sum(shares)}; give each of them a node")
        return settled(config, data.train_age is not None), Catalogue.of(data), shares
    if users is None:
        raise UserError("--users: only the nodes have the rows, so say how many users each has: "
                        "--users 12,15,9")
    for name in _OVER_ALL:
        if getattr(config, name):
            raise UserError(f"{name}: it needs all users' rows, which nobody has here; give "
                            f"--set {name}=0")
    if config.dp is not None and not config.catalogue_unit:
        raise UserError("dp.catalogue: only the nodes have rows that items could be made from, and "
                        "they take them from the invitation; leave it out")
    _refuse_simulated_noise(config)
    how = Encoding(config.encoders, feature_cache(), report)
    try:
        catalogue = read_catalogue(Path(config.dataset), how)
    except DataError as error:
        raise UserError(f"dataset: {error}") from error
    if is_named(catalogue.name):
        raise UserError(f"dataset: {catalogue.name} is the name of a known data set; give the "
                        "folder another name")
    # Paths of this machine are nobody else's business. Whether rows have times is not known here.
    offer = settled(config.model_copy(update={"dataset": catalogue.name}), False)
    return offer, catalogue, list(users)


def rows_for(invitation: Invitation, party: str, data: Path | None) -> Shard:
    """Return the rows of a party's users, nobody's for the key holder. Raises UserError where they
    cannot be had, or `data` is given where it must not be."""
    numbers = numbers_of(invitation, party)
    if party == KEYHOLDER:
        if data is not None:
            raise UserError("--data: the key holder has nobody's rows; leave it out")
        return Shard()
    name = invitation.config.dataset
    if is_named(name):
        if data is not None:
            raise UserError(f"--data: the run is on {name}, of which each node takes its own "
                            "users; leave it out")
        whole = load_data(invitation.config)
        if not np.array_equal(whole.item_ids, invitation.catalogue.items):
            raise UserError(f"dataset: {name} has other items on this machine than the "
                            "invitation says; fetch it anew")
        return shard_of(whole, np.array(numbers))
    _refuse_simulated_noise(invitation.config)
    if data is None:
        raise UserError(f"--data: give the folder that holds the interactions of the "
                        f"{len(numbers)} users of {party}")
    # Under a budget a user with few rows takes part too: who is refused would tell of the rows.
    least = SHORTEST if invitation.config.dp is not None else None
    try:
        return read_shard(data, invitation.catalogue.items, invitation.config.split_seed, least,
                          invitation.config.split, invitation.config.reading)
    except DataError as error:
        raise UserError(f"--data: {error}") from error


def _refuse_simulated_noise(config: RunConfig) -> None:
    if config.dp is not None and config.dp.noise != "csprng":
        raise UserError("dp.noise: simulated noise follows from the seed, which everybody has; it "
                        "would hide no user of these rows: set csprng")
