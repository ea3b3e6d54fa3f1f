"""A server that forgets, or makes up, what it did: the same round again, and again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments.deployment import app
from experiments.deployment.books import books
from privfedmm.base.errors import ABORTED, UserError
from privfedmm.base.state_folder import state_folder
from privfedmm.federation import transport
from tests.commands import cli
from tests.deployments import ONE, released
from tests.federation.conftest import NODES, Loop, settle
from tests.ledgers import charges

ONE_ROUND: dict[str, Any] = {**ONE, "dp.noise": "csprng"}


def server_files(out: Path) -> list[Path]:
    """What is the server's own of a deployment: the run folder, and its journal."""
    return [path for path in [*out.iterdir(), *(out / "deploy").iterdir()]
            if path.is_file() and path.name not in ("known.bin", "invitation.bin")]


def kept(out: Path, to: Path, files: list[Path]) -> None:
    for path in files:
        (to / path.relative_to(out)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, to / path.relative_to(out))


def put_back(out: Path, saved: Path) -> None:
    """All that the server's machine knows, what is remembered outside of the run folder included.
    """
    for path in server_files(out):
        path.unlink()
    shutil.rmtree(state_folder(), ignore_errors=True)
    shutil.copytree(saved, out, dirs_exist_ok=True)


def spent(out: Path) -> list[float]:
    return [run["epsilon_spent"] for run in books([out / "deploy"])["runs"]]


def opened_once(tmp_path: Path) -> tuple[Path, Loop, Path]:
    """A finished first round, and the server's files from before it."""
    _, out, loop = settle(ONE_ROUND, tmp_path / "run")
    kept(out, tmp_path / "before", server_files(out))
    app.play(loop, out, out / "deploy")
    return out, loop, tmp_path / "before"


def test_a_round_opens_once_whatever_became_of_the_journal(tmp_path: Path) -> None:
    """The same round over other survivors: refused by everybody who signed the first list."""
    out, loop, before = opened_once(tmp_path)
    first = released(out)
    assert spent(out) == pytest.approx([2.0] * NODES, abs=1e-3)
    put_back(out, before)
    loop.before = lambda kind, node, body: None if node == 2 else body
    with pytest.raises(UserError) as caught:
        app.play(loop, out, out / "deploy")
    assert caught.value.code == ABORTED and not (out / "release.pt").exists()
    # Users are numbered by shards: those of node 2 were away, the others refused.
    assert spent(out) == pytest.approx([2.0] * NODES, abs=1e-3)
    assert first


def test_it_opens_twice_where_devices_forget_as_well(tmp_path: Path) -> None:
    """Teeth: with the nodes' own state put back, two releases of one round leave, and the server's
    ledger knows of one. Nobody is left who could know of the other."""
    _, out, loop = settle(ONE_ROUND, tmp_path / "run")
    nodes = [folder / "state.bin" for folder in loop.folders]
    kept(out, tmp_path / "before", server_files(out))
    app.play(loop, out, out / "deploy")
    first = released(out)
    put_back(out, tmp_path / "before")
    for state in nodes:
        state.unlink()
    loop.before = lambda kind, node, body: None if node == 2 and kind == transport.UPLOAD else body
    app.play(loop, out, out / "deploy")
    second = released(out)
    assert any((first[name] != second[name]).any() for name in first)
    assert len(charges(out)) == 1


def test_attempts_that_never_open_are_paid_for_by_the_devices_own_books(tmp_path: Path) -> None:
    """The server takes the vectors and says that the round failed, as often as it likes: its ledger
    stays empty, and the devices stop at what their budget pays for."""
    flags = {**ONE_ROUND, "dp.spare_rounds": 2}
    _, out, loop = settle(flags, tmp_path / "run")
    kept(out, tmp_path / "before", server_files(out))
    asked = 0

    def stops(kind: str, node: int, body: bytes) -> bytes:
        if kind == transport.SIGN:
            raise KeyboardInterrupt
        return body

    loop.before = stops
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            app.play(loop, out, out / "deploy")
        asked += 1
        # The journal numbers attempts: without it the server would be refused for a replay.
        journal = (out / "deploy" / "journal.json").read_text(encoding="utf-8")
        row = {**json.loads(journal), "opening": None}
        (out / "deploy" / "journal.json").write_text(json.dumps(row), encoding="utf-8")
    assert not charges(out)
    assert spent(out) == pytest.approx([2.0] * NODES, abs=1e-3) and asked == 3
    with pytest.raises(UserError, match="more than the budget of 2 of every user here"):
        app.play(loop, out, out / "deploy")


def test_the_owner_of_a_node_can_read_its_book(tmp_path: Path) -> None:
    out, _, _ = opened_once(tmp_path)
    done = cli("deploy", "budget", str(out / "deploy" / "shard-0"), "--json")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["users"], run["users_that_uploaded"], run["attempts"]) == (12, 12, 1)
    assert run["epsilon"] == 2.0 and run["trust"] == "distributed" and run["delta"]
    assert set(run["spent_by_user"].values()) == {run["epsilon_spent"]}
    shown = cli("deploy", "budget", str(out / "deploy"))
    assert shown.returncode == 0 and shown.stdout.count("12 of 12 users uploaded") == NODES
    assert "at most epsilon 2 of 2 at delta 1e-05, trust distributed" in shown.stdout
    wrong = cli("deploy", "budget", str(out / "deploy" / "server"))
    assert wrong.returncode == 2 and "is no folder of a node" in wrong.stderr


def test_two_runs_of_the_same_users_cost_what_both_cost(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _, out, loop = settle(ONE_ROUND, tmp_path / name)
        app.play(loop, out, out / "deploy")
    shown = cli("deploy", "budget", str(tmp_path))
    assert "all runs together: user u" in shown.stdout and "epsilon 2.94" in shown.stdout
    found = books([tmp_path])
    assert len(found["runs"]) == 2 * NODES
    assert max(found["spent_in_all"].values()) == pytest.approx(2.95, abs=0.02)
