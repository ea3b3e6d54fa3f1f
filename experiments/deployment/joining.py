"""How a party joins a run: it makes its own keys and hands back their public halves alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from experiments.deployment.certificates import CA, make_node_key, write_secret
from experiments.deployment.invitation import Invitation
from experiments.deployment.party_files import (
    KEYHOLDER,
    NODE_KEY,
    PART,
    read_identities,
    write_identities,
)
from privacy.crypto.beacon import commit, fresh_part
from privacy.crypto.keys import KEY_BYTES, Identity, verify_signature
from privacy.errors import ProtocolError
from privfedmm.base.errors import UserError
from privfedmm.base.files import write_json
from privfedmm.config import to_toml
from privfedmm.data import Shard
from privfedmm.federation.codec import encode, fields_of
from privfedmm.runs.run import CONFIG

NODE, USERS, ANSWER = "node.json", "users.csv", ".answer"
_FORMAT = 2
_FIELDS: dict[str, type] = {
    "format": int, "invitation": str, "party": str, "keys": dict, "proofs": dict,
    "node_key": bytes, "commitment": bytes}


@dataclass(frozen=True)
class Answer:
    """An answer is what a party hands back to the operator; all of it is public.

    invitation: the SHA-256 of the invitation that it answers. party: the name of the party. keys: a
    map from number to verify key. node_key: the public half of its SuperNode's key, in OpenSSH's
    form. commitment: to its part of the beacon that mask graphs are drawn from.
    """

    invitation: str
    party: str
    keys: Mapping[int, bytes]
    node_key: bytes
    commitment: bytes


def join(invitation: Invitation, party: str, rows: Shard, folder: Path) -> bytes:
    """Write a party's folder with fresh keys, which must not leave it, and return the answer.

    party: one of the invitation's parties. rows: those of its users, nobody's for the key
    holder. Raises UserError, before anything is written, where the rows are of another number of
    users or the folder is in use.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--out: {folder} exists and is not empty; keys are made once a run: name "
                        "another folder")
    numbers = numbers_of(invitation, party)
    first = 0 if party == KEYHOLDER else numbers[0]
    wanted = 0 if party == KEYHOLDER else len(numbers)
    if len(rows.user_ids) != wanted:
        raise UserError(f"--data: the rows are of {len(rows.user_ids)} users, and the invitation "
                        f"counts {wanted} on {party}; ask for an invitation with --users that "
                        "counts yours")
    identities = {n: Identity.generate(n) for n in numbers}
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    write_secret(folder / CONFIG, to_toml(invitation.config).encode())
    write_secret(folder / CA, invitation.ca)
    write_identities(folder, identities)
    public, part = make_node_key(folder / NODE_KEY).read_bytes(), fresh_part()
    if wanted:
        write_secret(folder / PART, encode({"party": party, "part": part}))
    committed = commit(invitation.run, party, part)
    invitation.holding(first, rows).write(folder)
    if wanted:
        table = [f"{n},{user}" for n, user in zip(numbers, rows.user_ids.tolist(), strict=True)]
        write_secret(folder / USERS, "\n".join(["number,user_id", *table, ""]).encode())
    write_json(folder / NODE, {"party": party, "superlink": invitation.superlink})
    return encode({
        "format": _FORMAT, "invitation": invitation.digest, "party": party,
        "keys": {n: i.verify_key() for n, i in identities.items()},
        "proofs": {n: i.sign(proof_text(invitation.digest, n, public + committed))
                   for n, i in identities.items()},
        "node_key": public, "commitment": committed})


def numbers_of(invitation: Invitation, party: str) -> list[int]:
    """Return whose keys a party makes: its users', or the key holder's own, which is nobody's
    number.

    Raises UserError for a party that is not invited.
    """
    if party not in invitation.parties:
        raise UserError(f"the run has no {party}; it has {', '.join(invitation.parties)}")
    if party == KEYHOLDER:
        return [sum(invitation.users)]
    return [int(n) for n in invitation.hosted(int(party.removeprefix("shard-")))]


def proof_text(invitation: str, number: int, rest: bytes) -> bytes:
    """Return the text that a key signs to show that its owner has it and answers this invitation
    with the rest: the key of its SuperNode, then its commitment."""
    return f"privfedmm answer|{invitation}|{number}|".encode() + rest


def read_answer(path: Path, invitation: Invitation) -> Answer:
    """Read an answer and check it by itself. Raises UserError where it is damaged, altered, of
    another invitation, or for users of another party."""
    try:
        values = fields_of(path.read_bytes(), (), _FIELDS)
    except OSError as error:
        raise UserError(f"answer: {path} cannot be read ({error.strerror}); check the path"
                        ) from error
    except ProtocolError as error:
        raise UserError(f"answer: {path} is no answer, or was damaged ({error}); ask for it again"
                        ) from error
    party, keys, proofs = values["party"], values["keys"], values["proofs"]
    if values["format"] != _FORMAT:
        raise UserError(f"answer: {path} is of another form; install the same version of "
                        "privfedmm on all machines")
    if values["invitation"] != invitation.digest:
        raise UserError(f"answer: {path} answers another invitation; have the node join this one")
    numbers = numbers_of(invitation, party)
    if list(keys) != numbers or list(proofs) != numbers:
        raise UserError(f"answer: {path} holds keys of other users than those of {party} "
                        f"({numbers[0]} to {numbers[-1]}); ask for it again")
    for number in numbers:
        text = proof_text(invitation.digest, number, values["node_key"] + values["commitment"])
        if not _proves(keys[number], proofs[number], text):
            raise UserError(f"answer: {path} was altered: the key of number {number} did not sign "
                            "it; ask for it again by another way")
    try:
        whole = isinstance(load_ssh_public_key(values["node_key"]), EllipticCurvePublicKey)
    except ValueError:
        whole = False
    if not whole:
        raise UserError(f"answer: {path} holds no key of a SuperNode; ask for it again")
    return Answer(values["invitation"], party, keys, values["node_key"], values["commitment"])


def _proves(key: object, proof: object, text: bytes) -> bool:
    if not isinstance(key, bytes) or not isinstance(proof, bytes) or len(key) != KEY_BYTES:
        return False
    return verify_signature(key, proof, text)


def own_keys(folder: Path) -> dict[int, bytes]:
    """Return the verify keys of a party's folder. Raises OSError or ValueError where it has
    none."""
    return {n: identity.verify_key() for n, identity in read_identities(folder).items()}
