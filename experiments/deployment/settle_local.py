"""All parties of a run at one place: invited, joined and settled by whoever has all data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.deployment.directory import accept, settle
from experiments.deployment.invitation import invite
from experiments.deployment.joining import ANSWER, join
from experiments.deployment.parties import check_carried, hosted_by
from experiments.deployment.party_files import KEYHOLDER, KNOWN
from privfedmm.config import RunConfig
from privfedmm.data import Catalogue, Dataset, Shard, shard_of

# Each start of such a deployment finds itself a port.
_HERE = "localhost:0"


def settle_all(config: RunConfig, data: Dataset, root: Path, nodes: int) -> RunConfig:
    """Make folders for `nodes` shards, the server and, where one is needed, the key holder.

    Returns the config with the users of each node in it. Raises UserError for settings that a
    deployment does not carry.
    """
    check_carried(config, data.num_users, nodes)
    config = hosted_by(config, data.num_users, nodes)
    shards = np.split(np.arange(data.num_users), np.cumsum(config.secure.nodes or ())[:-1])
    invitation = invite(
        config, Catalogue.of(data), [len(hosted) for hosted in shards], _HERE, root)
    answers: list[Path] = []
    for party in invitation.parties:
        part = Shard() if party == KEYHOLDER else shard_of(data, shards[len(answers)])
        answers.append(root / f"{party}{ANSWER}")
        answers[-1].write_bytes(join(invitation, party, part, root / party))
    heard = settle(root, answers)
    for party in invitation.parties:
        accept(root / KNOWN, root / party, heard)
    return config
