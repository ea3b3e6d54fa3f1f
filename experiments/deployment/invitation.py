"""What the operator of a server hands out before any key is made: the public terms of a run."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.deployment.certificates import CA, make_tls, write_secret
from experiments.deployment.parties import check_carried, has_holder, with_nodes
from experiments.deployment.party_files import (
    KEYHOLDER,
    SERVER,
    Holding,
    catalogue_fields,
    catalogue_from,
    version,
    write_identities,
)
from privacy.errors import ProtocolError
from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig, resolve, to_toml
from privfedmm.data import Catalogue, Shard
from privfedmm.federation.codec import encode, fields_of
from privfedmm.runs.run import CONFIG

INVITATION, TLS = "invitation.bin", "tls"
_FORMAT = 1
_FIELDS: dict[str, type] = {
    "format": int, "run": bytes, "version": str, "config": str, "users": tuple, "superlink": str,
    "ca": bytes, "catalogue": dict}
_CATALOGUE: dict[str, type] = {
    "name": str, "items": list, "features": dict, "notes": dict, "present": dict, "sha256": str}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Invitation:
    """An invitation holds the public terms of a run.

    run: 16 bytes that name the run. version: the version of the program, the same for all parties.
    users: the number of users that each node hosts; user numbers run on from node to node.
    superlink: host:port. ca: the PEM of the authority that signed the SuperLink's certificate.
    digest: the SHA-256 of the file.
    """

    run: bytes
    version: str
    config: RunConfig
    users: tuple[int, ...]
    superlink: str
    ca: bytes
    catalogue: Catalogue
    digest: str

    def hosted(self, node: int) -> np.ndarray:
        """Return the numbers of a node's users. Raises UserError for a node that is not invited."""
        if not 0 <= node < len(self.users):
            raise UserError(f"--node: the run has nodes 0 to {len(self.users) - 1}, got {node}")
        first = sum(self.users[:node])
        return np.arange(first, first + self.users[node])

    @property
    def holder(self) -> bool:
        """Return whether a key holder takes part."""
        return has_holder(self.config)

    @property
    def parties(self) -> list[str]:
        """Return who has to answer: the nodes' names, then the key holder's where one takes
        part."""
        return [*(f"shard-{n}" for n in range(len(self.users))),
                *([KEYHOLDER] if self.holder else [])]

    def holding(self, first: int, part: Shard) -> Holding:
        """Return what a party holds under these terms.

        first: the number of its first user. part: the rows of its users.
        """
        return Holding(self.run, self.digest, sum(self.users), first, self.catalogue, part)


def invite(
    config: RunConfig, catalogue: Catalogue, users: Sequence[int], superlink: str, root: Path
) -> Invitation:
    """Write the invitation, the certificates and the server's own folder under `root`.

    users: the number of users that each node hosts. Raises UserError for what a deployment does not
    carry.
    """
    host, _ = address_of(superlink)
    config = with_nodes(config, users)
    check_carried(config, sum(users), len(users))
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_tls(root / TLS, [host])
    body = encode({
        "format": _FORMAT, "run": os.urandom(16), "version": version(), "config": to_toml(config),
        "users": tuple(int(n) for n in users), "superlink": superlink,
        "ca": (root / TLS / CA).read_bytes(), "catalogue": catalogue_fields(catalogue)})
    (root / INVITATION).write_bytes(body)
    invitation = read_invitation(root / INVITATION)
    (root / SERVER).mkdir(mode=0o700)
    write_secret(root / SERVER / CONFIG, to_toml(config).encode())
    write_identities(root / SERVER, {})
    invitation.holding(0, Shard()).write(root / SERVER)
    return invitation


def read_invitation(path: Path) -> Invitation:
    """Read an invitation. Raises UserError where it cannot be read, is damaged, or is of another
    version."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UserError(f"invitation: {path} cannot be read ({error.strerror}); give the file "
                        "that the operator handed out") from error
    try:
        values = fields_of(body, (), _FIELDS)
        content = values.pop("catalogue")
        if {n: type(v) for n, v in content.items()} != _CATALOGUE:
            raise ProtocolError("its catalogue has other fields")
        if values.pop("format") != _FORMAT or not all(
                type(n) is int and n > 0 for n in values["users"]):
            raise ProtocolError("it is of another form")
        catalogue = catalogue_from(content)
    except ProtocolError as error:
        raise UserError(f"invitation: {path} is no invitation, or was damaged ({error}); ask for "
                        "it again") from error
    if values["version"] != version():
        raise UserError(f"invitation: it was made by version {values['version']} of privfedmm, "
                        f"this is {version()}; install the same on all machines")
    for name, matrix in (*catalogue.features.items(), *catalogue.present.items()):
        if not isinstance(matrix, np.ndarray) or len(matrix) != len(catalogue.items):
            raise UserError(f"invitation: {name} has not one row for each of the "
                            f"{len(catalogue.items)} items; ask for it again")
    try:
        config = resolve(None, tomllib.loads(values.pop("config")))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"invitation: {path} holds settings that cannot be read ({error}); ask "
                        "for it again") from error
    check_carried(config, sum(values["users"]), len(values["users"]))
    address_of(values["superlink"])
    return Invitation(config=config, catalogue=catalogue,
                      digest=hashlib.sha256(body).hexdigest(), **values)


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`. Raises UserError for other text."""
    host, _, port = text.rpartition(":")
    if not _HOST.fullmatch(host) or not port.isdecimal() or not 0 <= int(port) < 2**16:
        raise UserError(f"--host: {text!r} is no host:port by which nodes reach the SuperLink; "
                        "write link.example.org:8443 or 192.0.2.7:8443")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine and nobody else's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
