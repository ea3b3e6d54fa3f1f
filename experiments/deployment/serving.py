"""`privfedmm deploy serve`: the server of a run whose nodes are on other machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.deployment import app
from experiments.deployment import flower_commands as commands
from experiments.deployment.carrier import (
    MARK,
    START,
    SUBMIT,
    Deployment,
    Hook,
    Shape,
    follow,
)
from experiments.deployment.certificates import CA
from experiments.deployment.directory import NODES
from experiments.deployment.invitation import (
    INVITATION,
    TLS,
    Invitation,
    address_of,
    is_loopback,
    read_invitation,
)
from experiments.deployment.journal import JOURNAL
from experiments.deployment.parties import Party
from experiments.deployment.party_files import KNOWN, SERVER
from experiments.deployment.processes import Processes, free_ports, program
from experiments.deployment.superlink import LINK, environment, listening, write_app_folder
from privfedmm.base.errors import ABORTED, UserError
from privfedmm.evaluation import metrics_from_ranks
from privfedmm.runs import record as records
from privfedmm.runs import run as runs
from privfedmm.runs.folder import held_folder
from privfedmm.runs.run import DEPLOY
from privfedmm.runs.session import Session

COMMAND = "deploy serve"


def serve(
    out: Path, wait: float, resume: bool, listen: runs.Listener,
    hook: Hook = lambda deployment: None,
) -> dict[str, Any]:
    """Play the rounds of a settled run and return its result, with no process left.

    The processes are the SuperLink, the registration of its nodes, the gate and the ServerApp.
    wait: the seconds that nodes may take to come, and that a message may take. Raises UserError.
    """
    root = out.absolute() / DEPLOY
    if not (root / INVITATION).exists():
        raise UserError(f"{out} holds no invitation; begin with: privfedmm deploy invite")
    invitation = read_invitation(root / INVITATION)
    if not (root / SERVER / KNOWN).exists():
        raise UserError(f"{out} has no directory of keys yet; put it together with: privfedmm "
                        "deploy settle")
    if (root / JOURNAL).exists() and not resume:
        raise UserError(f"{out} was begun before; continue with: privfedmm {COMMAND} --resume "
                        f"{out}")
    if resume and _is_over(root):
        return result(out)
    (root / app.OUTCOME).unlink(missing_ok=True)

    def watch(deployment: Deployment) -> None:
        if "gate" in deployment.processes.ended():
            raise RuntimeError("the gate to the SuperLink ended; is its port in use?")
        hook(deployment)

    try:
        with held_folder(out), _running(invitation, out, wait) as deployment:
            follow(deployment, out, COMMAND, "flwr-serverapp", listen, watch)
    except (RuntimeError, OSError, TimeoutError) as error:
        raise UserError(f"deploy: {error}; logs are in {root / 'logs'}", ABORTED) from error
    return result(out)


def _is_over(root: Path) -> bool:
    found = root / app.OUTCOME
    return found.exists() and json.loads(found.read_text(encoding="utf-8"))["code"] == 0


def result(out: Path) -> dict[str, Any]:
    """Return the result of a run whose rounds are over; `metrics` is None where no node reports
    ranks."""
    root = out.absolute() / DEPLOY
    party = Party.read(root / SERVER)
    records.set_threads(party.config.threads)
    session = Session.start(party.config, party.data, out)
    session.restore(out, party.data.sha256, going_on=False)
    budget, ledger = session.planned.budget, session.stack.ledger
    log = json.loads((root / app.EXCHANGES).read_text(encoding="utf-8"))
    return {
        "folder": str(out),
        "rounds": session.state.round,
        "epsilon_spent": ledger.spent(budget.delta) if budget else None,
        "delta": budget.delta if budget else None,
        "metrics": {
            name: metrics_from_ranks(r, more=party.config.evaluation.metrics)
            for name, r in session.best_ranks.items()} or None,
        "exchanges": sum(row["exchanges"] for row in log),
        "stayed_out": [reason for row in log for reason in row["stayed_out"]],
    }


@contextmanager
def _running(invitation: Invitation, out: Path, wait: float) -> Iterator[Deployment]:
    """The SuperLink on loopback, where runs are submitted, and the gate that nodes come to."""
    root = out.absolute() / DEPLOY
    host, port = address_of(invitation.superlink)
    # What is invited to this machine alone is not offered to others.
    bind = "127.0.0.1" if is_loopback(host) else "0.0.0.0"
    (inner,) = free_ports(1)
    shape = Shape(len(invitation.users), wait)
    write_app_folder(out, invitation.config, shape, "experiments.deployment.app", COMMAND, [
        f'address = "127.0.0.1:{inner}"', f'root-certificates = "{root / TLS / CA}"'])
    variables = {**environment(root), **commands.gate_environment(root / TLS, inner)}
    with Processes(root / "logs", variables, (MARK, str(root))) as processes:
        pids = {"superlink": processes.start(
            "superlink", commands.superlink(root / TLS, "127.0.0.1", inner))}
        listening(processes, inner)
        for party in invitation.parties:
            processes.call(
                "register", commands.register(root / NODES / f"{party}.pub", LINK), START)
        # Not before: a SuperNode that is not registered yet is told to give up.
        pids["gate"] = processes.start("gate", commands.gate(root / TLS, bind, port))
        processes.call("submit", [program("flwr"), "run", str(root / "app"), LINK], SUBMIT)
        yield Deployment(out, processes, pids, inner)
