"""From one machine to several, by the commands: who holds what, and what is refused."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from experiments.deployment.directory import accept, fingerprint, settle
from experiments.deployment.invitation import read_invitation
from experiments.deployment.joining import proof_text
from experiments.deployment.party_files import Holding, Known, read_identities
from privacy.crypto.keys import Identity
from privfedmm.base.errors import UserError
from privfedmm.federation.codec import decode, encode
from tests.commands import cli

ITEMS, EACH = 30, 6
USERS = (5, 4)
PARTIES = ("shard-0", "shard-1", "keyholder")
PRIVATE = (
    "--method", "group_statistics", "--aggregation", "masked", "--group-statistics", "encrypted",
    "--dp-epsilon", "4", "--trust", "distributed", "--set", "statistics.groups=2",
    "--set", "k_core=0", "--set", "secure.dropout=0.3",
    "--set", "secure.server=semi_honest")


def catalogue(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(3)
    lines = "".join(f"i{n},Title {n}\n" for n in range(ITEMS))
    (folder / "items.csv").write_text("item_id,title\n" + lines)
    np.save(folder / "smell_feat.npy", rng.normal(size=(ITEMS, 5)).astype(np.float32))
    return folder


def rows(folder: Path, node: int) -> Path:
    """The interactions of a node's users, who are called by names that nobody else has."""
    folder.mkdir()
    rng = np.random.default_rng([7, node])
    lines = [f"user-{node}{name},i{item},{time}\n" for name in "abcdefg"[:USERS[node]]
             for time, item in enumerate(rng.choice(ITEMS, EACH, replace=False))]
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "".join(lines))
    return folder


@dataclass(frozen=True)
class World:
    """Machines, each a folder: the operator's, and one of each party with what it was handed."""

    root: Path

    def __getitem__(self, name: str) -> Path:
        return self.root / name

    @property
    def operator(self) -> Path:
        return self.root / "operator" / "run"

    @property
    def deploy(self) -> Path:
        return self.operator / "deploy"

    @property
    def answers(self) -> list[Path]:
        return [self.root / p / f"{p}.answer" for p in PARTIES]

    def folder(self, party: str) -> Path:
        return self.root / party / party

    def invite(self) -> Any:
        return cli("deploy", "invite", "--host", "link.example.org", "--users", "5,4", "--dataset",
                   str(self.root / "operator" / "catalogue"), *PRIVATE, "--out",
                   str(self.operator))

    def join(self, party: str) -> Any:
        who = ("--keyholder",) if party == "keyholder" else ("--node", party[-1])
        given = ("--data", str(self.root / party / "rows")) if len(who) == 2 else ()
        return cli("deploy", "join", str(self.deploy / "invitation.bin"), *who, *given,
                   "--out", str(self.folder(party)))


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Invited and joined by the commands, not settled."""
    world = World(tmp_path_factory.mktemp("world"))
    (world.root / "operator").mkdir()
    catalogue(world.root / "operator" / "catalogue")
    done = world.invite()
    assert done.returncode == 0, done.stderr
    assert "epsilon 4" in done.stdout
    for number, party in enumerate(PARTIES):
        (world.root / party).mkdir()
        if party != "keyholder":
            rows(world.root / party / "rows", number)
        done = world.join(party)
        assert done.returncode == 0, done.stderr
        assert "epsilon 4" in done.stdout
    return world


@pytest.fixture
def world(joined: World, tmp_path: Path) -> World:
    """A copy to spoil."""
    shutil.copytree(joined.root, tmp_path / "world")
    return World(tmp_path / "world")


@pytest.fixture
def settled(world: World) -> World:
    settle(world.deploy, world.answers)
    return world


def test_by_the_commands_everyone_gets_the_same_directory_and_is_ready(world: World) -> None:
    done = cli("deploy", "settle", str(world.operator), *map(str, world.answers))
    assert done.returncode == 0, done.stderr
    known = world.deploy / "known.bin"
    heard = hashlib.sha256(known.read_bytes()).hexdigest()  # as sha256sum tells it
    assert fingerprint(known.read_bytes()) in done.stdout
    assert fingerprint(known.read_bytes()).replace(" ", "") == heard
    for party in PARTIES:
        folder = str(world.folder(party))
        before = cli("deploy", "node", folder, "--print")
        assert (before.returncode, "deploy accept" in before.stderr) == (2, True)
        said = cli("deploy", "accept", str(known), "--folder", folder)
        assert said.returncode == 2
        assert not (world.folder(party) / "known.bin").exists()
        done = cli("deploy", "accept", str(known), "--folder", folder, "--fingerprint",
                   fingerprint(known.read_bytes()))
        assert done.returncode == 0, done.stderr
        assert (world.folder(party) / "known.bin").read_bytes() == known.read_bytes()
        line = cli("deploy", "node", folder, "--print").stdout
        role = "keyholder" if party == "keyholder" else "clients"
        assert f'role="{role}"' in line and "--superlink link.example.org:8443" in line
        assert "FLWR_TELEMETRY_ENABLED=0" in line and "experiment" not in line
    # Once more is no other directory.
    again = cli("deploy", "settle", str(world.operator), *map(str, world.answers))
    assert again.returncode == 0
    known_to_server = Known.of((world.deploy / "server" / "known.bin").read_bytes())
    assert sorted(known_to_server.keys) == list(range(sum(USERS)))


def secrets_of(world: World, party: str) -> list[bytes]:
    """Private keys and rows, as they lie on disk."""
    folder = world.folder(party)
    found = [identity.secret_bytes() for identity in read_identities(folder).values()]
    # The first lines of such a file are the public half.
    found.append(b"\n".join((folder / "node.key").read_bytes().splitlines()[4:-1]))
    if party != "keyholder":
        part = Holding.read(folder).part
        found += [user.encode() for user in part.user_ids.tolist()]
        found += [part.train.row(u).tobytes() for u in range(part.train.users)]
        found += [part.validation.tobytes(), part.test.tobytes()]
    return found


def test_nothing_private_leaves_the_folder_that_made_it(settled: World) -> None:
    known = settled.deploy / "known.bin"
    heard = fingerprint(known.read_bytes())
    for party in PARTIES:
        accept(known, settled.folder(party), heard)
    for party in PARTIES:
        secrets = secrets_of(settled, party)
        assert len(secrets) >= 2 and all(len(secret) >= 7 for secret in secrets)
        own = settled.folder(party)
        held = b"".join(path.read_bytes() for path in own.rglob("*") if path.is_file())
        assert all(secret in held for secret in secrets)
        others = [path for path in settled.root.rglob("*") if path.is_file()
                  and own not in path.parents and path.parent.name != "rows"]
        assert settled.answers[0] in others and known in others
        key = load_ssh_private_key((own / "node.key").read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        secrets.append(key.private_numbers().private_value.to_bytes(48, "big"))
        for path in others:
            content = path.read_bytes()
            assert not any(secret in content for secret in secrets), path


def test_what_the_operator_and_each_node_hold_of_the_data(joined: World) -> None:
    world = joined
    server = Holding.read(world.deploy / "server").data
    assert len(server.train.indices) == 0 and (server.test == -1).all()
    assert server.num_users == sum(USERS)
    one = Holding.read(world.folder("shard-1"))
    assert one.hosted.tolist() == [5, 6, 7, 8]
    assert one.data.train.counts.tolist() == [0] * 5 + [EACH - 2] * 4
    assert (one.data.test[:5] == -1).all() and (one.data.test[5:] >= 0).all()
    table = (world.folder("shard-1") / "users.csv").read_text().splitlines()
    assert table[1] == "5,user-1a"
    text = (world.deploy / "invitation.bin").read_bytes()
    assert b"catalogue" in text and str(world.root).encode() not in text


def test_modes(settled: World) -> None:
    accept(settled.deploy / "known.bin", settled.folder("shard-0"),
           fingerprint((settled.deploy / "known.bin").read_bytes()))
    public = {"node.json", "node.pub"}
    for folder in (settled.folder("shard-0"), settled.folder("keyholder"),
                   settled.deploy / "server"):
        assert folder.stat().st_mode & 0o777 == 0o700
        for path in folder.iterdir():
            if path.name not in public:
                assert path.stat().st_mode & 0o777 == 0o600, path
    assert (settled.deploy / "tls" / "server.key").stat().st_mode & 0o777 == 0o600


Change = Callable[[dict[str, Any]], None]


def respond(path: Path, change: Change) -> None:
    values = decode(path.read_bytes(), ())
    change(values)
    path.write_bytes(encode(values))


def settles(world: World, answers: list[Path] | None = None) -> str:
    done = cli("deploy", "settle", str(world.operator),
               *map(str, world.answers if answers is None else answers))
    assert done.returncode == 2
    assert not (world.deploy / "known.bin").exists()
    return str(done.stderr)


def _flip(name: str, number: int) -> Change:
    def change(values: dict[str, Any]) -> None:
        body = bytearray(values[name][number])
        body[3] ^= 1
        values[name][number] = bytes(body)
    return change


ALTERED: dict[str, tuple[Change, str]] = {
    "key": (_flip("keys", 6), "was altered"),
    "proof": (_flip("proofs", 5), "was altered"),
    "other node key": (lambda v: v.update(node_key=b"ecdsa-sha2-nistp384 AAAA"), "was altered"),
    "user missing": (lambda v: v["keys"].pop(5), "keys of other users"),
    "user of another": (lambda v: v["keys"].update({0: v["keys"].pop(5)}), "keys of other users"),
    "invitation": (lambda v: v.update(invitation="0" * 64), "another invitation"),
    "party": (lambda v: v.update(party="shard-7"), "the run has no shard-7"),
    "form": (lambda v: v.update(format=1), "of another form"),
    "commitment": (lambda v: v.update(commitment=bytes(32)), "was altered"),
    "more": (lambda v: v.update(more=1), "is no answer"),
    "kind": (lambda v: v["keys"].update({5: "text"}), "was altered"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_answer_is_refused(world: World, name: str) -> None:
    change, said = ALTERED[name]
    respond(world.answers[1], change)
    assert said in settles(world)


def test_damaged_missing_and_repeated_answers_are_refused(world: World) -> None:
    one, two, holder = world.answers
    assert "none of shard-1, keyholder" in settles(world, [one])
    assert "none of keyholder" in settles(world, [one, two])
    assert "a second one of shard-0" in settles(world, [one, one, two, holder])
    assert "cannot be read" in settles(world, [one, two, holder.with_name("nowhere")])
    two.write_bytes(two.read_bytes()[:-20])
    assert "is no answer" in settles(world)


def forged(world: World, party: str, keys: list[Identity], node_key: bytes) -> None:
    """An answer whose sender proves what it claims."""
    path = world.answers[PARTIES.index(party)]
    invitation = read_invitation(world.deploy / "invitation.bin")
    path.write_bytes(encode({
        "format": 2, "invitation": invitation.digest, "party": party,
        "keys": {i.number: i.verify_key() for i in keys},
        "proofs": {i.number: i.sign(proof_text(invitation.digest, i.number, node_key + bytes(32)))
                   for i in keys}, "node_key": node_key, "commitment": bytes(32)}))


def test_no_key_is_two_parties(world: World) -> None:
    public = (world.folder("shard-1") / "node.pub").read_bytes()
    one = Identity.generate(5)
    twice = [one, replace(one, number=6), Identity.generate(7), Identity.generate(8)]
    forged(world, "shard-1", twice, public)
    assert "shard-1 has the verify key of shard-1" in settles(world)
    other = (world.folder("shard-0") / "node.pub").read_bytes()
    forged(world, "shard-1", [Identity.generate(n) for n in range(5, 9)], other)
    assert "shard-1 has the node key of shard-0" in settles(world)


def test_a_settled_run_has_one_directory(settled: World) -> None:
    first = (settled.deploy / "known.bin").read_bytes()
    public = (settled.folder("shard-1") / "node.pub").read_bytes()
    forged(settled, "shard-1", [Identity.generate(n) for n in range(5, 9)], public)
    with pytest.raises(UserError, match="from other answers"):
        settle(settled.deploy, settled.answers)
    assert (settled.deploy / "known.bin").read_bytes() == first


def _other(number: int) -> Change:
    return lambda v: v["keys"].update({number: Identity.generate(number).verify_key()})


OTHERS: dict[str, tuple[str, Change, str]] = {
    "own key altered": ("shard-0", _other(3), "another key for user 3"),
    "holder's own key altered": (
        "keyholder", lambda v: v.update(key_holder=bytes(32)), "another key for the key holder"),
    "user missing": ("shard-0", lambda v: v["keys"].pop(8), "keys of 8 users"),
    "user invented": ("shard-0", _other(9), "keys of 10 users"),
    "key twice": ("shard-0", lambda v: v["keys"].update({8: v["keys"][7]}), "share one verify key"),
    "key holder is a user": (
        "shard-0", lambda v: v.update(key_holder=v["keys"][8]), "a user's key"),
    "another run": ("shard-0", lambda v: v.update(run=bytes(16)), "is of another run"),
    "another version": ("shard-0", lambda v: v.update(version="0.0.9"), "is of another version"),
    "other settings": ("shard-0", lambda v: v.update(settings="0" * 64), "is for other settings"),
    "other invitation": (
        "shard-0", lambda v: v.update(invitation="0" * 64), "goes back to another invitation"),
    "no directory": ("shard-0", lambda v: v.pop("run"), "is none, or was damaged"),
    "short key": ("shard-0", lambda v: v["keys"].update({8: b"short"}), "is none, or was damaged"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_directory_that_is_not_this_runs_is_refused_whatever_its_fingerprint(
    settled: World, name: str
) -> None:
    party, change, said = OTHERS[name]
    path = settled.deploy / "known.bin"
    respond(path, change)
    done = cli("deploy", "accept", str(path), "--folder", str(settled.folder(party)),
               "--fingerprint", fingerprint(path.read_bytes()))
    assert done.returncode == 2
    assert said in done.stderr
    assert not (settled.folder(party) / "known.bin").exists()


def test_two_directories_show_in_the_fingerprint(settled: World) -> None:
    """The operator plays users of node 1 to node 0: all of node 0's own keys are right."""
    path = settled.deploy / "known.bin"
    true = fingerprint(path.read_bytes())
    respond(path, _other(6))
    done = cli("deploy", "accept", str(path), "--folder", str(settled.folder("shard-0")),
               "--fingerprint", true)
    assert done.returncode == 2
    assert "more than one directory" in done.stderr
    # Not told: it has to come from others.
    assert fingerprint(path.read_bytes()) not in done.stderr
    for wrong in ("", true[:-5], true + "0"):
        with pytest.raises(UserError, match="--fingerprint"):
            accept(path, settled.folder("shard-0"), wrong)


def test_a_second_directory_is_not_taken_in(settled: World) -> None:
    path, folder = settled.deploy / "known.bin", settled.folder("shard-0")
    heard = fingerprint(path.read_bytes())
    accept(path, folder, heard.upper().replace(" ", ":"))
    accept(path, folder, heard)
    respond(path, _other(6))
    with pytest.raises(UserError, match="another directory before"):
        accept(path, folder, fingerprint(path.read_bytes()))
    with pytest.raises(UserError, match="no folder that"):
        accept(path, settled.root, heard)


def test_changed_settings_in_the_folder_are_noticed(settled: World) -> None:
    path, folder = settled.deploy / "known.bin", settled.folder("shard-0")
    config = folder / "config.toml"
    config.write_text(config.read_text().replace("epsilon = 4.0", "epsilon = 9.0"))
    with pytest.raises(UserError, match="other settings"):
        accept(path, folder, fingerprint(path.read_bytes()))


def _says(done: Any, words: str) -> None:
    assert done.returncode == 2
    assert words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_refusals_of_join(world: World, tmp_path: Path) -> None:
    invitation = world.deploy / "invitation.bin"

    def join(*arguments: str, file: Path = invitation) -> Any:
        return cli("deploy", "join", str(file), *arguments, "--out", str(tmp_path / "new"))

    own = ("--data", str(world["shard-0"] / "rows"))
    _says(join(*own), "--node 0, or --keyholder")
    _says(join("--node", "0", "--keyholder"), "--node 0, or --keyholder")
    _says(join("--node", "2", *own), "the run has no shard-2")
    _says(join("--node", "1", *own), "of 5 users, and the invitation counts 4")
    _says(join("--node", "0"), "--data: give the folder")
    _says(join("--keyholder", *own), "nobody's rows")
    _says(world.join("shard-0"), "keys are made once a run")
    assert not (tmp_path / "new").exists()
    table = world["shard-0"] / "rows" / "interactions.csv"
    text = table.read_text()
    table.write_text(text + "user-0a,i99,7\n")
    _says(join("--node", "0", *own), "line 32: item i99 is none of the 30 items")
    table.write_text(text.splitlines()[0] + "\n")
    _says(join("--node", "0", *own), "no interactions")
    cut = tmp_path / "cut.bin"
    cut.write_bytes(invitation.read_bytes()[:-9])
    _says(join("--node", "0", file=cut), "is no invitation, or was damaged")
    _says(join("--node", "0", file=tmp_path / "none"), "cannot be read")
    for change, words in (
        (lambda v: v.update(version="9.9.9"), "made by version 9.9.9"),
        (lambda v: v.update(config="x ="), "settings that cannot be read"),
        (lambda v: v.update(config="nonsense = 1"), "no such setting"),
        (lambda v: v.update(users=(5, 0)), "of another form"),
        (lambda v: v["catalogue"].pop("items"), "its catalogue has other fields"),
        (lambda v: v["catalogue"]["items"].pop(), "not one row for each of the 29 items"),
        (lambda v: v.update(config=v["config"].replace("csprng", "simulation")), "dp.noise"),
        (lambda v: v.update(config=v["config"].replace('"full"', '"ring"')), "secure.mode"),
    ):
        shutil.copy(invitation, cut)
        respond(cut, change)
        _says(join("--node", "0", *own, file=cut), words)
    assert not (tmp_path / "new").exists()


def test_refusals_of_invite(world: World, tmp_path: Path) -> None:
    source = str(world["operator"] / "catalogue")

    def invite(*more: str, host: str = "localhost", dataset: str = source) -> Any:
        return cli("deploy", "invite", "--host", host, "--dataset", dataset, *PRIVATE, *more,
                   "--out", str(tmp_path / "new"))

    both = ("--users", "5,4")
    _says(invite(), "--users: only the nodes have the rows")
    _says(invite(*both, "--nodes", "2"), "leave --nodes out")
    _says(invite("--users", "5,x"), "no list of numbers")
    _says(invite("--users", "9,0"), "at least one user")
    _says(invite(*both, "--set", "k_core=5"), "k_core: it needs all users' rows")
    _says(invite(*both, "--set", "max_users=3"), "max_users")
    _says(invite(*both, "--noise", "simulation"), "dp.noise")
    _says(invite(*both, host="a b"), "no host:port")
    _says(invite(*both, host="link:99999"), "no host:port")
    _says(invite(*both, dataset=str(world["shard-0"] / "rows")), "holds no items.csv")
    _says(invite("--users", "30,5", dataset="planted:36"), "these are 35")
    _says(invite("--nodes", "3", dataset="planted:36", host="x_y"), "no host:port")
    _says(cli("deploy", "invite", "--host", "localhost", "--dataset", source, *PRIVATE, *both,
              "--out", str(world.operator)), "exists and is not empty")
    shutil.copy(world["shard-0"] / "rows" / "interactions.csv", source)
    _says(invite(*both), "users' rows stay with their nodes")
    assert not (tmp_path / "new").exists()


def test_the_server_waits_for_its_directory(world: World) -> None:
    _says(cli("deploy", "serve", str(world.operator)), "privfedmm deploy settle")
    _says(cli("deploy", "serve", str(world.root)), "no run folder")
    for other in (("run",), ("deploy", "local")):
        _says(cli(*other, "--resume", str(world.operator)),
              f"privfedmm deploy serve --resume {world.operator}")
