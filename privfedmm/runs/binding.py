"""A run is bound to its promise: its ledger begins with a signed commitment to what the run is.

The commitment holds settings and statement in full, so that a difference can be named; the digest
of the code; and the data set's digest, keyed by a secret of the run: a digest alone would let
whoever guesses a data set be sure of the guess.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privacy import Ledger, LedgerError, Statement
from privacy.crypto.keys import KEY_BYTES, Identity
from privfedmm.base.code_digest import code_digest, version
from privfedmm.base.errors import PRIVACY_VIOLATION, UserError
from privfedmm.base.files import whole
from privfedmm.config import RunConfig, read_toml, to_toml
from privfedmm.privacy_plan.continuing import SIMULATED
from privfedmm.privacy_plan.keeping import overspent, read_ledger
from privfedmm.runs.differences import differing, flat, plain_config, shown
from privfedmm.runs.differences import plain as plain

KEY, CONFIG, STATEMENT = "run.key", "config.toml", "statement.json"


@dataclass(frozen=True)
class RunKey:
    """This is the secret of a run: it signs the ledger, and hides the data's digest in it.

    signer: its number means nothing here.
    """

    signer: Identity

    @classmethod
    def fresh(cls, config: RunConfig) -> RunKey:
        """Make the key of a new run, keyed by the operating system.

        Under simulated noise it follows from the settings, as the noise does: a run that everybody
        can repeat is repeated with its ledger.
        """
        if config.dp is not None and config.dp.noise == SIMULATED:
            return cls(Identity.from_bytes(0, hashlib.sha256(
                b"privfedmm simulated run\0" + to_toml(config).encode()).digest()))
        return cls(Identity.from_bytes(0, os.urandom(KEY_BYTES)))

    @classmethod
    def read(cls, folder: Path) -> RunKey | None:
        """Read the key of a run folder, None where it has none. Raises ValueError for another
        file."""
        if not (folder / KEY).exists():
            return None
        return cls(Identity.from_bytes(0, (folder / KEY).read_bytes()))

    def write(self, folder: Path) -> None:
        """Write it where nobody but the owner of the folder can read it."""
        with whole(folder / KEY, private=True) as out:
            out.write(self.signer.secret_bytes())

    def run(self) -> str:
        """Return the name of the run: 16 bytes of the SHA-256 of its verify key, as hex."""
        return hashlib.sha256(self.signer.verify_key()).hexdigest()[:32]

    def hidden(self, data_hash: str) -> str:
        """Return a data set's digest as whoever has the key can tell it, and nobody else."""
        return hmac.new(self.signer.secret_bytes(), b"data\0" + data_hash.encode(),
                        hashlib.sha256).hexdigest()


def commit(
    ledger: Ledger, folder: Path, config: RunConfig, statement: Statement, data_hash: str
) -> None:
    """Bind an empty ledger to a run, and leave the run's key in its folder."""
    key = RunKey.fresh(config)
    key.write(folder)
    ledger.commit({
        "run": key.run(), "config": plain_config(config),
        "statement": plain(statement.to_json()), "data": key.hidden(data_hash),
        "code": code_digest(), "version": version()}, key.signer)


def faults(folder: Path, ledger: Ledger, data_hash: str | None = None) -> list[str]:
    """Return what in a run folder is not what its ledger commits to, one sentence each.

    data_hash: of the data as they are now, None where that is not known.
    """
    promised = ledger.commitment
    if promised is None:
        return [f"{KEY} is there, but the ledger does not begin with a commitment: it was removed"
                ] if (folder / KEY).exists() else []
    out = differences(promised["config"], plain(read_toml(folder / CONFIG)), CONFIG)
    try:
        said = json.loads((folder / STATEMENT).read_text(encoding="utf-8"))
        out += differences(promised["statement"], said, STATEMENT)
    except (OSError, ValueError) as error:
        out.append(f"{STATEMENT} cannot be read ({error})")
    try:
        key = RunKey.read(folder)
    except (OSError, ValueError) as error:
        return [*out, f"{KEY} cannot be read ({error})"]
    if key is None:
        return out
    if key.signer.verify_key().hex() != promised["key"]:
        out.append(f"{KEY} is not the key that signs the ledger: one of them is another run's")
    elif data_hash is not None and key.hidden(data_hash) != promised["data"]:
        out.append("the data set, or its split, has changed: its digest is not the one that the "
                   "ledger commits to")
    return out


def refuse_changed(folder: Path, ledger: Ledger, data_hash: str | None = None) -> None:
    """Refuse a run folder that is not what its ledger commits to.

    Raises UserError, with the exit code of a privacy violation, that names what differs.
    """
    found = faults(folder, ledger, data_hash)
    if ledger.commitment is not None and not (folder / KEY).exists():
        found.append(f"{KEY} is not there, and without it nothing more can be charged")
    if found:
        raise UserError("--resume: " + "; ".join(found) + "; put back what was promised, or start "
                        "a new run", PRIVACY_VIOLATION)


def refuse_changed_folder(out: Path) -> None:
    """Refuse a folder whose files are not what its ledger commits to, before they are acted upon.

    Raises UserError.
    """
    try:
        refuse_changed(out, Ledger.from_json(read_ledger(out)))
    except LedgerError as error:
        raise overspent(error) from error
    except (OSError, ValueError) as error:
        raise UserError(f"--resume: {out} cannot be continued ({error})") from error


def refuse_other_code(ledger: Ledger, folder: Path, accept: bool, deployed: bool) -> None:
    """Refuse to go on with other code than a bound ledger names; where that is accepted, note it.

    deployed: whether others have agreed to the run as it was, so that nobody can accept it alone.
    Raises UserError, with the exit code of a privacy violation.
    """
    digest, made_by = code_of(ledger)
    if digest == code_digest():
        return
    if not accept:
        raise UserError(
            f"--resume: the code has changed since {folder} was begun (version {made_by}, digest "
            f"{digest[:12]}; here {version()}, {code_digest()[:12]}), so what was promised may not "
            "be what goes on; " + ("" if deployed else "go on with privfedmm run --resume "
                                   "--accept-changed-code, which the ledger will say, or ")
            + "put that version back, or start a new run", PRIVACY_VIOLATION)
    ledger.go_on({"code": code_digest(), "version": version()})


def code_of(ledger: Ledger) -> tuple[str, str]:
    """Return digest and version of the code that a bound ledger went on with last."""
    last = ledger.notes[-1].body
    return str(last["code"]), str(last["version"])


def differences(promised: Mapping[str, Any], found: Any, file: str) -> list[str]:
    """Return the fields of a file that are not as promised, one sentence each."""
    ours, theirs = flat(promised), flat(found if isinstance(found, Mapping) else {})
    return [f"{file}: {name} is {shown(theirs, name)}, and the ledger commits to "
            f"{shown(ours, name)}" for name in differing(ours, theirs)]
