"""What a party holds before any message: its files, and the directory that all parties share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from experiments.deployment.certificates import write_secret
from privacy.crypto.beacon import PART_BYTES
from privacy.crypto.keys import KEY_BYTES, Directory, Identity
from privfedmm.config import RunConfig, to_toml
from privfedmm.data import Catalogue, Dataset, Rows, Shard
from privfedmm.federation.codec import decode, encode, fields_of

DATA, IDENTITIES, KNOWN, STATE = "data.bin", "identities.bin", "known.bin", "state.bin"
NODE_KEY, PART = "node.key", "beacon.bin"
SERVER, KEYHOLDER = "server", "keyholder"  # folders, beside those of the shards
# In the place of a key holder's verify key where there is none: a hash, so nobody can sign for it.
NOBODY = hashlib.sha256(b"privfedmm: this run has no key holder").digest()


@dataclass(frozen=True)
class Known:
    """This is the directory of a run, which all parties have word for word.

    run: 16 bytes that name the run. invitation: the SHA-256 of the file that invited all parties.
    version: the version of the program. settings: the digest of the run's settings. keys: a map
    from client to verify key. commitments: the nodes' commitments to their parts of the beacon that
    mask graphs are drawn from, by their names. key_holder: the key holder's verify key, or `NOBODY`
    where the run has none.
    """

    run: bytes
    invitation: str
    version: str
    settings: str
    keys: Mapping[int, bytes]
    commitments: Mapping[str, bytes]
    key_holder: bytes

    @property
    def directory(self) -> Directory:
        """Return the directory of the clients' verify keys."""
        return Directory(self.keys)

    @classmethod
    def of(cls, body: bytes) -> Known:
        """Return the directory that a file holds. Raises ValueError where it is none."""
        fields = {"run": bytes, "invitation": str, "version": str, "settings": str, "keys": dict,
                  "commitments": dict, "key_holder": bytes}
        known = cls(**fields_of(body, (), fields))
        if not all(isinstance(n, int) and isinstance(k, bytes) for n, k in known.keys.items()):
            raise ValueError("keys must be bytes by a user's number")
        if not all(isinstance(party, str) and isinstance(c, bytes) and len(c) == PART_BYTES
                   for party, c in known.commitments.items()):
            raise ValueError("commitments must be 32 bytes by a node's name")
        if len(known.key_holder) != KEY_BYTES:
            raise ValueError(f"the key holder's key must have {KEY_BYTES} bytes")
        Directory(known.keys)  # refuses keys of another length, and one that is there twice
        return known


@dataclass(frozen=True)
class Holding:
    """A party holds this from the start, beside its config and keys.

    run, invitation: as in `Known`. users: the number of users of the run. first: the number of the
    party's first user. part: the rows of its users.
    """

    run: bytes
    invitation: str
    users: int
    first: int
    catalogue: Catalogue
    part: Shard

    @property
    def hosted(self) -> np.ndarray:
        """Return the numbers of the party's users [users of the party] int64."""
        return np.arange(self.first, self.first + len(self.part.user_ids))

    @property
    def data(self) -> Dataset:
        """Return the data set with all users in number, and with the rows of the party's own
        alone."""
        return self.catalogue.with_rows(self.users, self.first, self.part)

    def write(self, folder: Path) -> None:
        """Write it into a party's folder, where nobody else can read it."""
        part = self.part
        age = None if part.train_age is None else part.train_age.astype(np.int64)
        write_secret(folder / DATA, encode({
            "run": self.run, "invitation": self.invitation, "users": self.users,
            "first": self.first, "catalogue": catalogue_fields(self.catalogue),
            "part": {
                "user_ids": part.user_ids.tolist(), "indptr": part.train.indptr,
                "indices": part.train.indices, "validation": part.validation,
                "test": part.test, "train_age": age,
                "further": {n: [r.indptr, r.indices] for n, r in part.further.items()}}}))

    @classmethod
    def read(cls, folder: Path) -> Holding:
        """Read it from a party's folder. Raises OSError, ValueError, KeyError or TypeError where
        there is none."""
        values = decode((folder / DATA).read_bytes(), ())
        part = values.pop("part")
        rows = Rows(part.pop("indptr"), part.pop("indices"))
        # Folders of earlier versions have none.
        further = {n: Rows(*pair) for n, pair in part.pop("further", {}).items()}
        ids = np.array(part.pop("user_ids"), dtype=str)
        return cls(**{**values, "catalogue": catalogue_from(values["catalogue"]),
                      "part": Shard(user_ids=ids, train=rows, further=further, **part)})


def catalogue_fields(catalogue: Catalogue) -> dict[str, Any]:
    """Return a catalogue as values that can be sent."""
    return {**vars(catalogue), "items": catalogue.items.tolist()}


def catalogue_from(values: Mapping[str, Any]) -> Catalogue:
    """Return the catalogue of `catalogue_fields`. Raises TypeError or KeyError for other fields."""
    return Catalogue(**{**values, "items": np.array(values["items"], dtype=str)})


def settings_digest(config: RunConfig) -> str:
    """Return the SHA-256 of a run's settings, which all parties must share."""
    return hashlib.sha256(to_toml(config).encode()).hexdigest()


def version() -> str:
    """Return the version of the installed program."""
    return metadata.version("privfedmm")


def read_identities(folder: Path) -> dict[int, Identity]:
    """Read a party's private keys by number. Raises OSError or ValueError where there are none."""
    secrets = decode((folder / IDENTITIES).read_bytes(), ())
    return {n: Identity.from_bytes(n, secret) for n, secret in secrets.items()}


def read_part(folder: Path) -> dict[str, bytes]:
    """Read a node's own part of the beacon, under its name; none in a folder of no node."""
    path = folder / PART
    if not path.exists():
        return {}
    values = fields_of(path.read_bytes(), (), {"party": str, "part": bytes})
    return {values["party"]: values["part"]}


def write_identities(folder: Path, identities: Mapping[int, Identity]) -> None:
    """Write a party's private keys, where nobody else can read them."""
    write_secret(folder / IDENTITIES,
                 encode({n: identity.secret_bytes() for n, identity in identities.items()}))
