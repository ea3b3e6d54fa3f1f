"""Each party of a deployment, from its folder: its node, its protocols, its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.deployment.certificates import write_secret
from experiments.deployment.party_files import (
    DATA,
    KNOWN,
    STATE,
    Holding,
    Known,
    read_identities,
    read_part,
    settings_digest,
    version,
)
from privacy.aggregation.deployed import WAYS, Agreed, way_of
from privacy.crypto.keys import Identity
from privfedmm.assemble import assemble, kinds_of
from privfedmm.base.errors import UserError
from privfedmm.base.files import flush_folder
from privfedmm.config import RunConfig, resolve
from privfedmm.data import Dataset
from privfedmm.evaluation import evaluate_on, to_arrays
from privfedmm.federation.codec import decode, encode
from privfedmm.federation.node import HolderNode, Node, Setup
from privfedmm.federation.server import Greeting
from privfedmm.mechanisms.aggregators import AGGREGATORS
from privfedmm.privacy_plan.aggregators import check_masks, tolerance
from privfedmm.privacy_plan.plan import survivors
from privfedmm.runs.run import CONFIG, protocol_of


@dataclass(frozen=True)
class Party:
    """This is a party's folder as read.

    data: the data set with all users in number, and with the rows of the hosted ones alone.
    """

    folder: Path
    config: RunConfig
    known: Known
    data: Dataset
    hosted: np.ndarray
    identities: Mapping[int, Identity]

    @classmethod
    def read(cls, folder: Path) -> Party:
        """Read a party's folder. Raises UserError where it is none."""
        if (folder / DATA).exists() and not (folder / KNOWN).exists():
            raise UserError(f"run-dir: {folder} has no directory of keys yet; take it in with: "
                            "privfedmm deploy accept")
        try:
            known = Known.of((folder / KNOWN).read_bytes())
            holding = Holding.read(folder)
            identities = read_identities(folder)
            config = resolve(folder / CONFIG, {})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"run-dir: {folder} is no folder of a party ({error})") from error
        data = replace(holding.data, every_target=config.split == "given")
        return cls(folder, config, known, data, holding.hosted, identities)

    @property
    def agreed(self) -> Agreed:
        """Return the protocols of the run, taken from this party's own config."""
        terms, users = self.config.secure, self.data.num_users
        return Agreed(
            self.known.run, way_of(self.config.aggregation),
            way_of(self.config.statistics_way), users,
            survivors(self.config).min_survivors(users), tolerance(self.config),
            self.known.commitments, terms.scheme)

    @property
    def greeting(self) -> Greeting:
        """Return version and digest of the settings, which all parties must share."""
        return Greeting(version(), settings_digest(self.config))

    def node(self, experiment: bool) -> Node:
        """Return the node of the hosted clients.

        experiment: whether it also reports loss, ranks and groups.
        """
        algorithm, setup = self._built()

        def ranks(state: Any, clients: Any) -> Mapping[str, np.ndarray]:
            def score(users: np.ndarray) -> np.ndarray:
                out = np.zeros((len(users), self.data.num_items), dtype=np.float32)
                own = np.isin(users, self.hosted)
                if own.any():
                    out[own] = algorithm.scores(state, clients, users[own]).numpy()
                return out

            found = evaluate_on(score, self.data, protocol_of(self.config)).ranks
            hosted = np.isin(np.arange(self.data.num_users), self.hosted)
            return to_arrays({name: ranks[hosted] for name, ranks in found.items()})

        return Node(setup, self.hosted, self.identities, algorithm,
                    Kept(self.folder / STATE, kinds_of(self.config)),
                    ranks if experiment else None)

    def holder(self) -> HolderNode:
        """Return the node of the key holder."""
        _, setup = self._built()
        (identity,) = self.identities.values()
        return HolderNode(setup, identity, Kept(self.folder / STATE, kinds_of(self.config)))

    def _built(self) -> tuple[Any, Setup]:
        parts = assemble(self.config, self.data)
        return parts.algorithm, Setup(
            self.greeting.version, self.greeting.settings, self.agreed, self.known.directory,
            self.known.key_holder, parts.stack, parts.plan.rounds + parts.plan.spare,
            kinds_of(self.config), read_part(self.folder), parts.plan.budget)


@dataclass(frozen=True)
class Kept:
    """A party's state is kept in one file, which is whole or as it was before."""

    path: Path
    kinds: tuple[type, ...]

    def load(self) -> Any:
        """Return the saved state, None where there is none. Raises ProtocolError for a file that
        cannot be read."""
        return decode(self.path.read_bytes(), self.kinds) if self.path.exists() else None

    def save(self, value: object) -> None:
        """Write the state; it is durable when this returns."""
        write_secret(self.path, encode(value))
        flush_folder(self.path.parent)


def node_folder(root: Path, shard: int) -> Path:
    """Return the folder of the node that hosts a shard."""
    return root / f"shard-{shard}"


def has_holder(config: RunConfig) -> bool:
    """Return whether a key holder takes part."""
    return any(AGGREGATORS.get(way).key_holder
               for way in (config.aggregation, config.statistics_way))


def hosted_by(config: RunConfig, users: int, nodes: int) -> RunConfig:
    """Return the config with the users of each node, which masks and noise have to bear.

    users: how many there are. nodes: how many nodes share them, evenly unless `secure.nodes` says
    otherwise. Raises UserError where that has another number of nodes or users.
    """
    given = config.secure.nodes
    if given is not None and (len(given), sum(given)) == (nodes, users):
        return with_nodes(config, given)
    return with_nodes(config, [len(p) for p in np.array_split(np.arange(users), nodes)])


def with_nodes(config: RunConfig, users: Sequence[int]) -> RunConfig:
    """Return the config with the users of each node. Raises UserError where it has others."""
    given = config.secure.nodes
    if min(users, default=0) < 1:
        raise UserError("--users: every node hosts at least one user; write 12,15,9")
    if given is not None and given != tuple(users):
        raise UserError(f"secure.nodes: the config has {', '.join(map(str, given))} users, the "
                        f"nodes {', '.join(map(str, users))}; leave it out, or give the same")
    secure = config.secure.model_copy(update={"nodes": tuple(int(n) for n in users)})
    settled = config.model_copy(update={"secure": secure})
    check_masks(settled, sum(users))
    return settled


def check_carried(config: RunConfig, users: int, nodes: int) -> None:
    """Check that a deployment carries these settings. Raises UserError where it does not."""
    dp, spoken = config.dp, [AGGREGATORS.get(way) for way in WAYS]
    wrong = {
        f"nodes: {nodes} nodes for {users} users; give from 1 to {users}":
            not 1 <= nodes <= users,
        f"method: {config.method} sends nothing, or its state does not travel; there is nothing to "
        "deploy": not (config.entry.can.federated and config.entry.can.deployed),
        _unspoken("aggregation", config.aggregation, [s.name for s in spoken if s.updates]):
            config.aggregation not in WAYS,
        _unspoken("group_statistics", config.statistics_way,
                  [s.name for s in spoken if s.statistics]): config.statistics_way not in WAYS,
        "mode: the reference hands the server every client's own parameters; deployments carry "
        "mode default": config.is_reference,
        "secure.mode: ring is a simulation of masks; deployments need full":
            config.is_secure and config.secure.without_messages,
        "cold_items: nodes do not rank cold items; set 0": config.cold_items > 0,
        "secure.simulated_dropout: in a deployment nodes vanish by themselves; set 0":
            config.secure.simulated_dropout > 0,
        "dp.sampling: nodes take part in every round; a cohort that the server draws would have "
        "to be believed; set everyone": dp is not None and not dp.everyone,
        "dp.clipping: nodes do not follow a moving clip norm yet; set fixed":
            dp is not None and dp.moving_clip,
        "dp.unit: noise that is trained into device state is carried by the simulator alone; "
        "set user": dp is not None and dp.per_interaction,
    }
    for sentence, found in wrong.items():
        if found:
            raise UserError(f"deploy: {sentence}")


def _unspoken(field: str, name: str, others: list[str]) -> str:
    return (f"{field}: nodes do not speak the protocol of {name}; set "
            f"{', '.join(others[:-1])} or {others[-1]}")
