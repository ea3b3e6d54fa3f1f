"""The directory of all verify keys: put together once, and taken in by every party that finds
itself in it and hears the same fingerprint from the others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from experiments.deployment.certificates import write_secret
from experiments.deployment.invitation import INVITATION, read_invitation
from experiments.deployment.joining import Answer, own_keys, read_answer
from experiments.deployment.party_files import (
    KEYHOLDER,
    KNOWN,
    NOBODY,
    SERVER,
    Holding,
    Known,
    read_part,
    settings_digest,
    version,
)
from privacy.crypto.beacon import commit
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.federation.codec import encode
from privfedmm.runs.run import CONFIG

NODES = "nodes"
_GROUP = 4


def fingerprint(known: bytes) -> str:
    """Return the SHA-256 of a directory's file, in groups that can be read out."""
    digest = hashlib.sha256(known).hexdigest()
    return " ".join(digest[i:i + _GROUP] for i in range(0, len(digest), _GROUP))


def settle(root: Path, answers: Sequence[Path]) -> str:
    """Write the directory of a run from everyone's answers, and return its fingerprint.

    It is written to `root` and to the server's own folder; beside it are the nodes' public keys, to
    be registered. Raises UserError where somebody is missing, there twice, or has another's key,
    and where another directory was settled before.
    """
    invitation = read_invitation(root / INVITATION)
    found: dict[str, Answer] = {}
    for path in answers:
        answer = read_answer(path, invitation)
        if answer.party in found:
            raise UserError(f"answer: {path} is a second one of {answer.party}; give one of each")
        found[answer.party] = answer
    missing = [party for party in invitation.parties if party not in found]
    if missing:
        raise UserError(f"answer: none of {', '.join(missing)}; every party of the run answers "
                        "before it is settled")
    for field in ("verify", "node"):
        owners: dict[bytes, str] = {}
        for party, answer in found.items():
            for key in answer.keys.values() if field == "verify" else [answer.node_key]:
                if key in owners:
                    raise UserError(f"answer: {party} has the {field} key of {owners[key]}; each "
                                    "makes its own: have one of them join again")
                owners[key] = party
    keys = {n: key for party in invitation.parties if party != KEYHOLDER
            for n, key in found[party].keys.items()}
    holder = next(iter(found[KEYHOLDER].keys.values())) if invitation.holder else NOBODY
    body = encode(vars(Known(
        invitation.run, invitation.digest, invitation.version,
        settings_digest(invitation.config), keys,
        {party: found[party].commitment for party in invitation.parties if party != KEYHOLDER},
        holder)))
    if (root / KNOWN).exists() and (root / KNOWN).read_bytes() != body:
        raise UserError(f"{root / KNOWN} was settled from other answers, and a run has one "
                        "directory; invite to a new run")
    (root / NODES).mkdir(exist_ok=True)
    for party, answer in found.items():
        (root / NODES / f"{party}.pub").write_bytes(answer.node_key)
    write_secret(root / SERVER / KNOWN, body)
    (root / KNOWN).write_bytes(body)
    return fingerprint(body)


def accept(path: Path, folder: Path, heard: str) -> Known:
    """Take a directory into a party's folder, which is then ready.

    heard: the fingerprint that others told by a way that the operator does not control. Raises
    UserError where it is another, or where the directory is of another run, other settings,
    another version, not whole, or does not hold this party's own keys.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UserError(f"directory: {path} cannot be read ({error.strerror}); give the "
                        f"{KNOWN} that the operator handed out") from error
    try:
        holding, own, config = Holding.read(folder), own_keys(folder), resolve(folder / CONFIG, {})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"--folder: {folder} is no folder that `deploy join` made ({error})"
                        ) from error
    try:
        known = Known.of(body)
    except ValueError as error:
        raise UserError(f"directory: {path} is none, or was damaged ({error}); ask for it again"
                        ) from error
    if re.sub(r"[\s:-]", "", heard).lower() != hashlib.sha256(body).hexdigest():
        # The right one is not told here: it has to come from others.
        raise UserError("--fingerprint: it is not this directory's; either it was mistyped, or "
                        "the operator handed out more than one directory: do not take part until "
                        "all owners have the same")
    mine = {"invitation": holding.invitation, "run": holding.run,
            "settings": settings_digest(config), "version": version()}
    for name, what in (("run", "is of another run"), ("version", "is of another version"),
                       ("settings", "is for other settings"),
                       ("invitation", "goes back to another invitation")):
        if getattr(known, name) != mine[name]:
            raise UserError(f"directory: {path} {what} than {folder}; ask the operator for yours")
    if sorted(known.keys) != list(range(holding.users)):
        raise UserError(f"directory: {path} holds keys of {len(known.keys)} users, and the run "
                        f"has {holding.users}; do not take part")
    held = {**known.keys, holding.users: known.key_holder}
    altered = [n for n, key in own.items() if held.get(n) != key]
    if altered:
        raise UserError(f"directory: {path} has another key for {_whose(altered, holding)} than "
                        "this folder; somebody could speak for it: do not take part")
    for party, part in read_part(folder).items():
        if known.commitments.get(party) != commit(known.run, party, part):
            raise UserError(f"directory: {path} has another commitment for {party} than this "
                            "folder; somebody could choose who masks with whom: do not take part")
    if known.key_holder in known.keys.values():
        raise UserError(f"directory: {path} gives the key holder a user's key; do not take part")
    if (folder / KNOWN).exists() and (folder / KNOWN).read_bytes() != body:
        raise UserError(f"--folder: {folder} has taken in another directory before, and a run has "
                        "one; do not take part")
    write_secret(folder / KNOWN, body)
    return known


def _whose(numbers: Sequence[int], holding: Holding) -> str:
    return "the key holder" if numbers[0] == holding.users else f"user {numbers[0]}"
