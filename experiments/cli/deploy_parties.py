"""What `privfedmm deploy invite`, `join`, `settle`, `accept` do with their arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.cli.arguments import folder_of
from experiments.cli.common import wrote
from experiments.deployment.directory import accept, fingerprint, settle
from experiments.deployment.invitation import INVITATION, invite, read_invitation
from experiments.deployment.joining import ANSWER, join
from experiments.deployment.parties import with_nodes
from experiments.deployment.party_files import KEYHOLDER, KNOWN
from experiments.deployment.serving import COMMAND
from experiments.deployment.sources import offered, rows_for
from privfedmm.base.errors import UserError
from privfedmm.base.files import write_json
from privfedmm.config import RunConfig, resolve
from privfedmm.data import Catalogue, Dataset, Shard
from privfedmm.encoders import Report
from privfedmm.runs import run as runs
from privfedmm.runs.folder import new_folder
from privfedmm.runs.session import Session
from privfedmm.runs.shape import DEPLOY, SHAPE

Tell = Callable[[str], None]
PORT = 8443


def invite_all(
    file: Path | None, flags: dict[str, Any], users: str | None, nodes: int | None,
    host: str, out: Path | None, report: Report, tell: Tell,
) -> None:
    """Make a run folder with an invitation to hand out. Raises UserError."""
    if nodes is not None and nodes < 1:
        raise UserError(f"--nodes: {nodes} nodes host nobody; give 1 or more")
    if nodes is not None and users is not None:
        raise UserError("--nodes: --users says already how many nodes there are; leave --nodes out")
    config, catalogue, shares = offered(
        resolve(file, flags, fixed_rounds=True), _counts(users), nodes, report)
    config = with_nodes(config, shares)
    with folder_of(out, config) as folder, new_folder(folder):
        _invite(config, catalogue, shares, host, folder, tell)


def _invite(
    config: RunConfig, catalogue: Catalogue, shares: Sequence[int], host: str, folder: Path,
    tell: Tell,
) -> None:
    address = host if ":" in host else f"{host}:{PORT}"
    data = catalogue.with_rows(sum(shares), 0, Shard())
    _terms(config, data, tell)
    invitation = invite(config, catalogue, shares, address, folder / DEPLOY)
    runs.open_folder(config, data, folder, lambda lines: None, deployed=True)
    write_json(folder / DEPLOY / SHAPE, {"command": COMMAND})
    tell(f"{len(shares)} nodes, {', '.join(invitation.parties)}, meet at {address}")
    tell(f"hand out {folder / DEPLOY / INVITATION}; nothing in it is secret. Then: privfedmm "
         f"deploy settle {folder} ANSWERS")
    wrote(folder)


def join_one(
    invitation_file: Path, node: int | None, keyholder: bool, data: Path | None,
    out: Path | None, tell: Tell,
) -> None:
    """Make a party's folder, and beside it the answer to hand back. Raises UserError."""
    if (node is None) != keyholder:
        raise UserError("--node: say which node this is, as --node 0, or --keyholder")
    invitation = read_invitation(invitation_file)
    party = KEYHOLDER if keyholder else f"shard-{node}"
    folder = out or Path(party)
    answer = folder.absolute().with_name(folder.absolute().name + ANSWER)
    if answer.exists():
        raise UserError(f"--out: {answer} is there already; keys are made once a run: name "
                        "another folder")
    part = rows_for(invitation, party, data)
    whole = invitation.catalogue.with_rows(sum(invitation.users), 0, Shard())
    _terms(invitation.config, whole, tell)
    answer.write_bytes(join(invitation, party, part, folder))
    tell(f"{folder} is private and stays on this machine. If its users agree to the terms above, "
         f"hand {answer} back to the operator; nothing in it is secret")
    wrote(folder)


def settle_run(out: Path, answers: Sequence[Path], tell: Tell) -> None:
    """Make the directory of a run from all answers. Raises UserError."""
    root = out / DEPLOY
    heard = settle(root, answers)
    tell(f"hand out {root / KNOWN} to all parties. They compare this fingerprint among each "
         "other, by a way that is not yours:")
    tell(heard)
    tell(f"when they have started their nodes: privfedmm deploy serve {out}")
    wrote(root / KNOWN)


def accept_one(known: Path, folder: Path, heard: str | None, tell: Tell) -> None:
    """Take in a directory whose fingerprint others have told. Raises UserError."""
    if heard is None:
        try:
            found = fingerprint(known.read_bytes())
        except OSError as error:
            raise UserError(f"directory: {known} cannot be read ({error.strerror}); check the path"
                            ) from error
        raise UserError("--fingerprint: not taken in yet. Tell the other owners this file's, "
                        f"{found}, by a way that the operator does not control, and give the one "
                        "that they tell you")
    accept(known, folder, heard)
    tell(f"{folder} is ready: privfedmm deploy node {folder}")
    wrote(folder)


def _terms(config: RunConfig, data: Dataset, tell: Tell) -> None:
    tell(f"{config.method} on {data.name}: {data.num_users} users, {data.num_items} items; "
         f"updates {config.aggregation}, statistics {config.statistics_way}")
    session = Session.start(config, data)
    if config.dp is None:
        tell("no differential privacy: nothing is promised about what is released")
    for line in session.statement.lines():
        tell(f"  {line}")


def _counts(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--users: {text!r} is no list of numbers; write 12,15,9") from error
