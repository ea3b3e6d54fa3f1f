"""The folder of each party of a deployment: what it knows by itself, before any message."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments import protection
from experiments.config import RunConfig, resolve, to_toml
from experiments.deployment.certificates import write_secret
from experiments.errors import UserError
from experiments.files import flush_folder, write_text
from experiments.run import CONFIG, protocol_of
from experiments.session import build_algorithm
from privacy import Dense, Ledger, Slotted, Touched
from privacy.aggregation.apart import Agreed
from privacy.aggregation.messages import Message
from privacy.crypto.keys import Directory, Identity
from privfedmm.data import Dataset, Protocol, Rows
from privfedmm.evaluation import evaluate
from privfedmm.federation.hub import Greeting
from privfedmm.federation.node import HolderNode, Node, Setup
from privfedmm.federation.wire import decode, encode
from privfedmm.gfmfr.grouping import Centroids
from privfedmm.gfmfr.state import Clients, Plan, ServerState
from privfedmm.statistics.state import StatisticsClients, StatisticsState

KINDS = (Message, Dense, Touched, Slotted, Plan, Centroids, ServerState, Clients,
         StatisticsState, StatisticsClients)
KNOWN, DATA, IDENTITIES, STATE = "known.bin", "data.bin", "identities.bin", "state.bin"


@dataclass(frozen=True)
class Known:
    """What all parties know. run: 16 bytes. keys: client -> verify key. key_holder: its own."""

    run: bytes
    keys: Mapping[int, bytes]
    key_holder: bytes

    @property
    def directory(self) -> Directory:
        """The clients' verify keys."""
        return Directory(self.keys)


def write_party(
    folder: Path, config: RunConfig, data: Dataset, hosted: np.ndarray, known: Known,
    identities: Mapping[int, Identity],
) -> None:
    """A party's folder: config, the directory, public features, the rows of hosted clients
    [m] and their private keys. Nobody but the owner can open it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_text(folder / CONFIG, to_toml(config))
    write_secret(folder / KNOWN, encode(vars(known)))
    write_secret(folder / DATA, encode(_shard(data, hosted)))
    secrets = {number: identity.secret_bytes() for number, identity in identities.items()}
    write_secret(folder / IDENTITIES, encode(secrets))


def _shard(data: Dataset, hosted: np.ndarray) -> dict[str, Any]:
    own = np.zeros(data.num_users, dtype=bool)
    own[hosted] = True
    counts = np.where(own, data.train.counts, 0)
    kept = np.repeat(own, data.train.counts)
    age = None if data.train_age is None else data.train_age[kept].astype(np.int64)
    return {
        "name": data.name, "users": data.num_users, "items": data.num_items, "hosted": hosted,
        "indptr": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "indices": data.train.indices[kept], "train_age": age,
        "validation": np.where(own, data.validation, -1).astype(np.int64),
        "test": np.where(own, data.test, -1).astype(np.int64),
        "features": data.features, "notes": data.feature_notes, "sha256": data.sha256,
        "protocol": vars(data.protocol),
    }


@dataclass(frozen=True)
class Party:
    """A party's folder, read. data: all users in number, the rows of the hosted ones alone."""

    folder: Path
    config: RunConfig
    known: Known
    data: Dataset
    hosted: np.ndarray
    identities: Mapping[int, Identity]

    @classmethod
    def read(cls, folder: Path) -> Party:
        """Raises UserError where it is no such folder."""
        try:
            known = Known(**decode((folder / KNOWN).read_bytes(), ()))
            values = decode((folder / DATA).read_bytes(), ())
            secrets = decode((folder / IDENTITIES).read_bytes(), ())
            config = resolve(folder / CONFIG, {})
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"run-dir: {folder} is no folder of a party ({error})") from error
        data = Dataset(
            values["name"], np.arange(values["users"]), np.arange(values["items"]),
            Rows(values["indptr"], values["indices"]), values["validation"], values["test"],
            values["features"], pd.DataFrame(), None, Protocol(**values["protocol"]),
            values["sha256"], values["notes"], values["train_age"])
        return cls(folder, config, known, data, values["hosted"],
                   {n: Identity.from_bytes(n, secret) for n, secret in secrets.items()})

    @property
    def agreed(self) -> Agreed:
        """The protocols of the run, from this party's own config."""
        terms, users = self.config.secure, self.data.num_users
        return Agreed(
            self.known.run, self.config.aggregation, self.config.statistics_way, users,
            protection.survivors(self.config).least(users), terms.dropout, terms.colluding,
            terms.failure_bits, terms.scheme)

    @property
    def greeting(self) -> Greeting:
        """Version and digest of the settings, which all parties must share."""
        digest = hashlib.sha256(to_toml(self.config).encode()).hexdigest()
        return Greeting(metadata.version("privfedmm"), digest)

    def node(self, experiment: bool) -> Node:
        """The node of the hosted clients. experiment: it also reports loss, ranks and groups."""
        algorithm, setup = self._built()

        def ranks(state: Any, clients: Any) -> Mapping[str, np.ndarray]:
            def score(users: np.ndarray) -> np.ndarray:
                out = np.zeros((len(users), self.data.num_items), dtype=np.float32)
                own = np.isin(users, self.hosted)
                if own.any():
                    out[own] = algorithm.scores(state, clients, users[own]).numpy()
                return out

            targets = {"validation": self.data.validation, "test": self.data.test}
            found = evaluate(score, self.data.train, targets, protocol_of(self.config)).ranks
            return {name: rank[self.hosted] for name, rank in found.items()}

        return Node(setup, self.hosted, self.identities, algorithm, Kept(self.folder / STATE),
                    ranks if experiment else None)

    def holder(self) -> HolderNode:
        """The key holder's node."""
        _, setup = self._built()
        (identity,) = self.identities.values()
        return HolderNode(setup, identity, Kept(self.folder / STATE))

    def _built(self) -> tuple[Any, Setup]:
        users = self.data.num_users
        planned = protection.plan(self.config, users, self.data.num_items)
        algorithm = build_algorithm(self.config, self.data, planned)
        # What a node adds and charges for is the server's ledger; it keeps none of its own.
        stack = protection.build(
            self.config, planned, algorithm, users, Ledger((), planned.budget, None), None)
        return algorithm, Setup(
            self.greeting.version, self.greeting.settings, self.agreed, self.known.directory,
            self.known.key_holder, stack, planned.rounds, KINDS)


@dataclass(frozen=True)
class Kept:
    """A party's state in one file: whole, or as it was before."""

    path: Path

    def load(self) -> Any:
        """None where nothing was saved. Raises ProtocolError for a file that cannot be read."""
        return decode(self.path.read_bytes(), KINDS) if self.path.exists() else None

    def save(self, value: object) -> None:
        """Durable when it returns."""
        write_secret(self.path, encode(value))
        flush_folder(self.path.parent)


def settle(config: RunConfig, data: Dataset, root: Path, nodes: int) -> None:
    """Folders for `nodes` shards, the server and, where one is needed, the key holder.

    Raises UserError for settings that a deployment does not carry.
    """
    check_carried(config, data.num_users, nodes)
    identities = [Identity.generate(number) for number in range(data.num_users)]
    holder = Identity.generate(data.num_users)  # its number is nobody's
    known = Known(os.urandom(16), {i.number: i.verify_key() for i in identities},
                  holder.verify_key())
    for shard, hosted in enumerate(np.array_split(np.arange(data.num_users), nodes)):
        own = {int(n): identities[n] for n in hosted}
        write_party(node_folder(root, shard), config, data, hosted, known, own)
    nobody = np.arange(0)
    write_party(root / "server", config, data, nobody, known, {})
    if has_holder(config):
        write_party(
            root / "keyholder", config, data, nobody, known, {holder.number: holder})


def node_folder(root: Path, shard: int) -> Path:
    """Where a shard's node keeps its things."""
    return root / f"shard-{shard}"


def has_holder(config: RunConfig) -> bool:
    """Whether a key holder takes part."""
    return "encrypted" in (config.aggregation, config.statistics_way)


def check_carried(config: RunConfig, users: int, nodes: int) -> None:
    """Raises UserError for settings that a deployment does not carry."""
    dp = config.dp
    wrong = {
        f"nodes: {nodes} nodes for {users} users; give from 1 to {users}":
            not 1 <= nodes <= users,
        "method: local sends nothing; there is nothing to deploy": config.method == "local",
        "mode: the reference hands the server every client's own parameters; deployments carry "
        "mode default": config.mode == "reference",
        "secure.mode: ring is a simulation of masks; deployments need full":
            config.is_secure and config.secure.mode == "ring",
        "secure.simulated_dropout: in a deployment nodes vanish by themselves; set 0":
            config.secure.simulated_dropout > 0,
        "dp.sampling: nodes take part in every round; a cohort that the server draws would have "
        "to be believed; set everyone": dp is not None and dp.sampling != "everyone",
        "dp.clipping: nodes do not follow a moving clip norm yet; set fixed":
            dp is not None and dp.clipping == "adaptive",
        "dp.unit: noise that is trained into device state is carried by the simulator alone; "
        "set user": dp is not None and dp.unit != "user",
    }
    for sentence, found in wrong.items():
        if found:
            raise UserError(f"deploy: {sentence}")
