"""The commands of Flower that a deployment consists of, with all that they must be told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from experiments.deployment.certificates import CA, SERVER_CERTIFICATE, SERVER_KEY
from experiments.deployment.gate import AUTHORITY, TO
from experiments.deployment.party_files import KEYHOLDER, NODE_KEY
from experiments.deployment.processes import program
from privfedmm.base.errors import UserError


def superlink(tls: Path, bind: str, port: int) -> list[str]:
    """Return the command of a SuperLink with TLS that lets in registered SuperNodes alone."""
    return [
        program("flower-superlink"), "--host", bind, "--port", str(port),
        "--ssl-ca-certfile", str(tls / CA), "--ssl-certfile", str(tls / SERVER_CERTIFICATE),
        "--ssl-keyfile", str(tls / SERVER_KEY), "--enable-supernode-auth",
        "--disable-runtime-dependency-installation"]


def gate(tls: Path, bind: str, port: int) -> list[str]:
    """Return the command of the gate to a SuperLink; `gate_environment` says to which."""
    return [
        sys.executable, "-m", "experiments.deployment.gate_server", "--host", bind,
        "--port", str(port), "--ssl-certfile", str(tls / SERVER_CERTIFICATE),
        "--ssl-keyfile", str(tls / SERVER_KEY)]


def gate_environment(tls: Path, port: int) -> dict[str, str]:
    """Return the variables of the gate to the SuperLink on a port of loopback."""
    return {TO: f"https://127.0.0.1:{port}", AUTHORITY: str(tls / CA)}


def register(public: Path, link: str) -> list[str]:
    """Return the command that registers a SuperNode's public key with the SuperLink of a
    connection."""
    return [program("flwr"), "supernode", "register", str(public), link]


def supernode(
    folder: Path, party: str, authority: Path, address: str, own: int, experiment: bool
) -> list[str]:
    """Return the command of a party's SuperNode, under the party's name.

    own: the port of loopback on which it serves its own ClientApps. Raises UserError for a folder
    whose name Flower would take apart.
    """
    if {'"', "\\", os.linesep} & set(str(folder)):
        raise UserError(f"--folder: Flower reads no quotation mark, backslash or line break in "
                        f"{folder}; move the folder")
    role = "keyholder" if party == KEYHOLDER else "clients"
    settings = f'run-dir="{folder}" role="{role}"'
    return [
        program("flower-supernode"), "--superlink", address,
        "--root-certificates", str(authority), "--port", str(own),
        "--auth-supernode-private-key", str(folder / NODE_KEY),
        "--node-config", settings + (" experiment=true" if experiment else "")]
